import type * as core from 'kubernetes-types/core/v1.d.ts';
import { formatTime } from '../api/time.ts';
import { type AgentPod, type Container, isSidecar } from './pod.ts';
import { ephemeralContainers, shouldRestart } from './pod-actions.ts';
import { type ContainerState, newestByName, type PodState } from './runtime-state.ts';

/** Why a container waits, as the last attempt to start it ended. */
export interface StartFailure {
  readonly reason: string;
  readonly message: string;
}

export interface ContainerStatusContext {
  readonly pod: AgentPod;
  readonly state: PodState;
  readonly runtimeName: string;
  /** By container name. */
  readonly failures: ReadonlyMap<string, StartFailure>;
  /** Text of termination logs by container id. */
  readonly terminationMessages: ReadonlyMap<string, string>;
  readonly isReady: (container: Container, id: string) => boolean;
  readonly isStarted: (container: Container, id: string) => boolean;
  readonly isTerminating: boolean;
}

export interface ContainerStatuses {
  readonly initContainerStatuses: core.ContainerStatus[];
  readonly containerStatuses: core.ContainerStatus[];
  readonly ephemeralContainerStatuses: core.ContainerStatus[];
}

/** The status of each container of the spec, from what the runtime has. */
export function buildContainerStatuses(context: ContainerStatusContext): ContainerStatuses {
  const newest = newestByName(context.state);
  const hasInit = (context.pod.spec.initContainers ?? []).length > 0;
  const build = (container: Container, waitingReason: string) =>
    buildOne(context, container, { found: newest.get(container.name), waitingReason });
  const isInitialized = !hasInit || context.pod.spec.containers.some(({ name }) => newest.has(name));
  const waiting = isInitialized ? 'ContainerCreating' : 'PodInitializing';
  return {
    initContainerStatuses: (context.pod.spec.initContainers ?? []).map((container) =>
      build(container, 'PodInitializing'),
    ),
    containerStatuses: context.pod.spec.containers.map((container) => build(container, waiting)),
    ephemeralContainerStatuses: ephemeralContainers(context.pod).map((container) =>
      build(container, 'ContainerCreating'),
    ),
  };
}

interface Input {
  readonly found: ContainerState | undefined;
  readonly waitingReason: string;
}

function buildOne(context: ContainerStatusContext, container: Container, input: Input): core.ContainerStatus {
  const { found, waitingReason } = input;
  const { state, lastState } = chooseStates(context, container, input);
  const isRunning = found?.state === 'running';
  const isStarted = isRunning && context.isStarted(container, found.id);
  const isInit = context.pod.spec.initContainers?.some(({ name }) => name === container.name) ?? false;
  const isReady =
    isInit && !isSidecar(container)
      ? found?.state === 'exited' && found.exitCode === 0
      : isStarted && context.isReady(container, found.id);
  const status = {
    name: container.name,
    image: found?.image || (container.image ?? ''),
    imageID: found?.imageId ?? '',
    ...(found ? { containerID: `${context.runtimeName}://${found.id}` } : {}),
    ready: isReady,
    started: isStarted,
    restartCount: found?.restartCount ?? 0,
    state: state ?? { waiting: { reason: waitingReason } },
    ...(lastState ? { lastState } : { lastState: {} }),
    ...resourceStatus(container),
    ...mountStatus(container, found?.recursiveMounts ?? []),
    ...(found?.user
      ? {
          user: {
            linux: { uid: found.user.uid, gid: found.user.gid, supplementalGroups: [...found.user.groups] },
          },
        }
      : {}),
  };
  return status as core.ContainerStatus;
}

function chooseStates(
  context: ContainerStatusContext,
  container: Container,
  { found, waitingReason }: Input,
): { readonly state?: core.ContainerState; readonly lastState?: core.ContainerState } {
  const failure = context.failures.get(container.name);
  const waiting = { waiting: failure ? { ...failure } : { reason: waitingReason } };
  if (!found) {
    if (context.isTerminating) return { state: { terminated: unknownTermination() } };
    return { state: waiting };
  }
  const previous = context.state.containers.find(
    (other) => other.name === container.name && other.id !== found.id && other.state === 'exited',
  );
  const lastState = previous && { lastState: { terminated: terminated(context, previous) } };
  if (found.state === 'running') {
    return { state: { running: { startedAt: formatMs(found.startedAtMs) } }, ...lastState };
  }
  if (found.state === 'created') return { state: waiting, ...lastState };
  const own = found.state === 'exited' ? terminated(context, found) : unknownTermination();
  const isInit = context.pod.spec.initContainers?.some(({ name }) => name === container.name) ?? false;
  const isRestarted =
    isInit && !isSidecar(container)
      ? found.exitCode !== 0 && context.pod.spec.restartPolicy !== 'Never'
      : isSidecar(container) || shouldRestart(context.pod, found);
  if (failure && isRestarted && !context.isTerminating) {
    return { state: waiting, lastState: { terminated: own } };
  }
  return { state: { terminated: own }, ...lastState };
}

function terminated(context: ContainerStatusContext, found: ContainerState): core.ContainerStateTerminated {
  const message = context.terminationMessages.get(found.id) || found.message;
  return {
    containerID: `${context.runtimeName}://${found.id}`,
    exitCode: found.exitCode,
    reason: found.reason || (found.exitCode === 0 ? 'Completed' : 'Error'),
    ...(message ? { message } : {}),
    startedAt: formatMs(found.startedAtMs || found.createdAtMs),
    finishedAt: formatMs(found.finishedAtMs),
  };
}

function unknownTermination(): core.ContainerStateTerminated {
  return {
    exitCode: 137,
    reason: 'ContainerStatusUnknown',
    message: 'The container could not be located when the pod was terminated',
  };
}

function resourceStatus(container: Container): object {
  const { requests, limits } = container.resources ?? {};
  if (!requests && !limits) return { resources: {} };
  return {
    ...(requests ? { allocatedResources: requests } : {}),
    resources: { ...(limits ? { limits } : {}), ...(requests ? { requests } : {}) },
  };
}

function mountStatus(container: Container, recursiveMounts: readonly string[]): object {
  if (!container.volumeMounts?.length) return {};
  return {
    volumeMounts: container.volumeMounts.map(({ name, mountPath, readOnly }) => ({
      name,
      mountPath,
      ...(readOnly
        ? { readOnly, recursiveReadOnly: recursiveMounts.includes(mountPath) ? 'Enabled' : 'Disabled' }
        : {}),
    })),
  };
}

/** Milliseconds since the epoch as metav1.Time. */
export function formatMs(ms: number): string {
  return formatTime(new Date(ms));
}
