import { rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isApiError } from '../api/api-error.ts';
import { PODS } from '../api/kinds.ts';
import { sleep } from '../base/time.ts';
import { criErrorCode } from '../cri/client.ts';
import { logLinkPath } from './container-starter.ts';
import { type AgentPod, podCgroup } from './pod.ts';
import type { PodPaths } from './pod-paths.ts';
import type { PodServices } from './pod-services.ts';
import type { EndCause } from './pod-worker.ts';
import type { ContainerState, PodState } from './runtime-state.ts';
import { tearDownVolumes } from './volumes/volumes.ts';

export interface CleanUpOptions {
  readonly pod: AgentPod;
  readonly state: PodState;
  readonly paths: PodPaths;
  readonly cause: EndCause;
}

/**
 * Removes everything of a stopped pod from the node: sandboxes with their containers, volumes, logs,
 * cgroups; then, for a deleted pod, the API object.
 */
export async function cleanUpPod(services: PodServices, options: CleanUpOptions): Promise<void> {
  const { pod, state, paths, cause } = options;
  await Promise.all(state.sandboxes.map(({ id }) => removeSandbox(services, id)));
  await Promise.all(state.containers.map((container) => removeLogLink(services, pod, container)));
  await tearDownVolumes(paths);
  await rm(paths.logs, { recursive: true, force: true });
  await removeCgroups(podCgroup(pod));
  services.tokens.forget(pod.metadata.uid);
  services.restarts.forget(pod.metadata.uid);
  if (cause === 'deleted') await deleteObject(services, pod);
}

async function removeSandbox(services: PodServices, podSandboxId: string): Promise<void> {
  try {
    await services.cri.stopPodSandbox({ podSandboxId });
    await services.cri.removePodSandbox({ podSandboxId });
  } catch (error) {
    if (criErrorCode(error) !== 'NOT_FOUND') throw error;
  }
}

async function removeLogLink(services: PodServices, pod: AgentPod, container: ContainerState): Promise<void> {
  await rm(logLinkPath(services.containerLogsDir, pod, container), { force: true });
}

async function deleteObject(services: PodServices, pod: AgentPod): Promise<void> {
  const { name, namespace, uid } = pod.metadata;
  while (!services.signal.aborted) {
    try {
      const client = services.link.requireClient();
      await client.delete(PODS, { name, namespace }, { gracePeriodSeconds: 0, preconditions: { uid } });
      return;
    } catch (error) {
      if (isApiError(error, 'NotFound') || isApiError(error, 'Conflict')) return;
      services.log.debug(`Cannot delete pod "${namespace}/${name}": ${(error as Error).message}`);
      await sleep(500, services.signal).catch(() => {});
    }
  }
}

const CGROUP_ROOT = '/sys/fs/cgroup';
const CONTROLLERS = [
  '',
  'blkio',
  'cpu',
  'cpuacct',
  'cpu,cpuacct',
  'cpuset',
  'devices',
  'freezer',
  'hugetlb',
  'memory',
];
const MORE_CONTROLLERS = [
  'net_cls',
  'net_prio',
  'net_cls,net_prio',
  'perf_event',
  'pids',
  'rdma',
  'misc',
  'systemd',
  'unified',
];

/** Removes a pod's empty cgroups, v1 and v2. */
async function removeCgroups(path: string): Promise<void> {
  await Promise.all(
    [...CONTROLLERS, ...MORE_CONTROLLERS].map((controller) =>
      rmdir(join(CGROUP_ROOT, controller, path)).catch(() => {}),
    ),
  );
}

/** Removes dead containers but the newest of each name, and old sandboxes that hold none. */
export async function pruneContainers(services: PodServices, pod: AgentPod, state: PodState): Promise<void> {
  const kept = new Set<string>();
  const gone = new Set<string>();
  for (const container of state.containers) {
    if (container.state !== 'exited') continue;
    if (!kept.has(container.name)) {
      kept.add(container.name);
      continue;
    }
    gone.add(container.id);
    await services.cri.removeContainer({ containerId: container.id });
    await removeLogLink(services, pod, container);
    await rm(container.logPath, { force: true });
  }
  for (const sandbox of state.sandboxes.slice(1)) {
    const isHeld = state.containers.some(({ id, sandboxId }) => sandboxId === sandbox.id && !gone.has(id));
    if (!sandbox.isReady && !isHeld) await removeSandbox(services, sandbox.id);
  }
}
