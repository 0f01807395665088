import { startContainer } from './container-starter.ts';
import type { StartFailure } from './container-status.ts';
import type { PodActions } from './pod-actions.ts';
import { podFields } from './pod-fields.ts';
import { describeSandbox, type PodPlace, writeHosts } from './pod-sandbox.ts';
import type { PodServices } from './pod-services.ts';
import type { SandboxState } from './runtime-state.ts';

export interface ContainerStarts {
  readonly actions: PodActions;
  readonly sandbox: SandboxState;
  /** Paths of the pod's volumes by name. */
  readonly volumes: ReadonlyMap<string, string>;
  /** Why a container does not start, by its name; kept up to date. */
  readonly failures: Map<string, StartFailure>;
  readonly signal: AbortSignal;
}

/**
 * Starts the containers that are due, one after the other; returns the delays in ms after which those that did not
 * start are worth a try.
 */
export async function startContainers(
  services: PodServices,
  place: PodPlace,
  { actions, sandbox, volumes, failures, signal }: ContainerStarts,
): Promise<number[]> {
  const containers = [...actions.initToStart, ...actions.toStart];
  if (containers.length === 0) return [];
  const { pod, paths } = place;
  const fields = podFields(services, pod, sandbox);
  await writeHosts(services, place, fields.podIps);
  const sandboxConfig = await describeSandbox(services, place, sandbox.attempt);
  const retries: number[] = [];
  for (const container of containers) {
    const state = await services.reader.readPod(pod.metadata.uid);
    const context = { pod, paths, state, sandbox, sandboxConfig, volumes, fields, signal };
    const problem = await startContainer(services, { ...context, container });
    if (problem) {
      failures.set(container.name, { reason: problem.reason, message: problem.message });
      retries.push(problem.retryMs);
    } else failures.delete(container.name);
  }
  return retries;
}
