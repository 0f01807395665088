import { podEventTarget } from './container-starter.ts';
import { runHook } from './lifecycle-hooks.ts';
import { type AgentPod, allContainers, type Container, isSidecar } from './pod.ts';
import { ephemeralContainers } from './pod-actions.ts';
import type { PodServices } from './pod-services.ts';
import type { ContainerState, PodState } from './runtime-state.ts';

export interface KillOptions {
  readonly pod: AgentPod;
  readonly state: PodState;
  readonly graceSeconds: number;
  /** Ends preStop hooks early. */
  readonly signal: AbortSignal;
}

const MIN_GRACE_SECONDS = 2;

/** Stops all containers (sidecars last, in reverse order) and the sandboxes. */
export async function killPod(services: PodServices, options: KillOptions): Promise<void> {
  const { pod, state, graceSeconds } = options;
  const running = state.containers.filter((container) => container.state !== 'exited');
  const sidecarNames = (pod.spec.initContainers ?? []).filter(isSidecar).map(({ name }) => name);
  const isSidecarState = ({ name }: ContainerState) => sidecarNames.includes(name);
  const deadline = services.now() + graceSeconds * 1000;
  await Promise.all(
    running
      .filter((container) => !isSidecarState(container))
      .map((container) => killContainer(services, container, { ...options, deadline })),
  );
  for (const name of sidecarNames.toReversed()) {
    for (const container of running.filter((candidate) => candidate.name === name)) {
      await killContainer(services, container, { ...options, deadline });
    }
  }
  await Promise.all(
    state.sandboxes
      .filter((sandbox) => sandbox.isReady)
      .map((sandbox) => services.cri.stopPodSandbox({ podSandboxId: sandbox.id })),
  );
}

export interface KillContainerOptions {
  readonly pod: AgentPod;
  /** Epoch ms at which the grace period is over. */
  readonly deadline: number;
  readonly message?: string;
  readonly signal: AbortSignal;
  readonly state: PodState;
}

/** Stops one container: preStop hook, stop signal, and SIGKILL when the grace period is over. */
export async function killContainer(
  services: PodServices,
  target: ContainerState,
  options: KillContainerOptions,
): Promise<void> {
  const { pod, deadline } = options;
  services.prober.unwatch(target.id);
  if (target.state === 'exited') return;
  services.recorder.record(podEventTarget(pod, target.name), {
    type: 'Normal',
    reason: 'Killing',
    message: options.message ?? `Stopping container ${target.name}`,
  });
  const leftMs = () => deadline - services.now();
  const container = [...allContainers(pod), ...ephemeralContainers(pod)].find(
    ({ name }) => name === target.name,
  );
  if (target.state === 'running' && container && leftMs() > 0) {
    await runPreStop(services, { container, target, timeoutMs: leftMs(), options });
  }
  const isImmediate = leftMs() <= 0 && !container?.lifecycle?.preStop;
  const timeout = isImmediate ? 0 : Math.max(Math.ceil(leftMs() / 1000), MIN_GRACE_SECONDS);
  await services.cri.stopContainer({ containerId: target.id, timeout });
}

interface PreStop {
  readonly container: Container;
  readonly target: ContainerState;
  readonly timeoutMs: number;
  readonly options: KillContainerOptions;
}

async function runPreStop(
  services: PodServices,
  { container, target, timeoutMs, options }: PreStop,
): Promise<void> {
  const handler = container.lifecycle?.preStop;
  if (!handler) return;
  try {
    await runHook(services.cri, handler, {
      container,
      containerId: target.id,
      podIp: options.state.sandboxes[0]?.ips[0] ?? services.hostIps()[0] ?? '',
      timeoutMs,
      signal: AbortSignal.any([options.signal, AbortSignal.timeout(timeoutMs)]),
    });
  } catch (error) {
    services.log.debug(`PreStop hook failed: ${(error as Error).message}`);
    services.recorder.record(podEventTarget(options.pod, container.name), {
      type: 'Warning',
      reason: 'FailedPreStopHook',
      message: 'PreStopHook failed',
    });
  }
}
