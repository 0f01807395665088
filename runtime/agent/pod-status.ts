import type * as core from 'kubernetes-types/core/v1.d.ts';
import type { ContainerStatuses } from './container-status.ts';
import { type AgentPod, computeQosClass, isSidecar } from './pod.ts';
import type { PodState } from './runtime-state.ts';

/** core/v1 PodStatus with the fields of 1.36 that the type package does not know. */
export type PodStatus = core.PodStatus & { observedGeneration?: number };

export interface PodStatusInput {
  readonly pod: AgentPod;
  readonly state: PodState;
  readonly statuses: ContainerStatuses;
  readonly previous: PodStatus | undefined;
  readonly hostIps: readonly string[];
  /** metav1.Time */
  readonly now: string;
  readonly startTime: string;
  /** The pod is being deleted or will never run again. */
  readonly isTerminating: boolean;
  /** Rejected by the node: phase Failed with this reason. */
  readonly rejection?: { readonly reason: string; readonly message: string } | undefined;
}

export type PodPhase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

/** Condition types that the agent writes; all others belong to someone else and are kept. */
const OWN_CONDITIONS: readonly string[] = [
  'PodReadyToStartContainers',
  'Initialized',
  'Ready',
  'ContainersReady',
  'PodScheduled',
];

/** The whole status of a pod. Pure. */
export function buildPodStatus(input: PodStatusInput): PodStatus {
  const { pod, state, statuses, hostIps, rejection } = input;
  const base = {
    ...(pod.metadata.generation === undefined ? {} : { observedGeneration: pod.metadata.generation }),
    qosClass: computeQosClass(pod),
    startTime: input.previous?.startTime ?? input.startTime,
    ...(hostIps[0] ? { hostIP: hostIps[0], hostIPs: hostIps.map((ip) => ({ ip })) } : {}),
  };
  if (rejection) {
    return {
      ...base,
      phase: 'Failed',
      ...rejection,
      conditions: input.previous?.conditions ?? [],
    } as PodStatus;
  }
  const podIps = pod.spec.hostNetwork ? hostIps : (state.sandboxes[0]?.ips ?? []);
  const phase = keepTerminal(input.previous?.phase, computePhase(pod, statuses, input.isTerminating));
  const status = {
    ...base,
    phase,
    conditions: buildConditions(input, phase),
    ...(podIps[0] && state.sandboxes.length > 0
      ? { podIP: podIps[0], podIPs: podIps.map((ip) => ({ ip })) }
      : keepIps(input.previous)),
    ...(statuses.initContainerStatuses.length > 0
      ? { initContainerStatuses: statuses.initContainerStatuses }
      : {}),
    containerStatuses: statuses.containerStatuses,
    ...(statuses.ephemeralContainerStatuses.length > 0
      ? { ephemeralContainerStatuses: statuses.ephemeralContainerStatuses }
      : {}),
  };
  return status as PodStatus;
}

function keepTerminal(previous: string | undefined, phase: PodPhase): PodPhase {
  return previous === 'Succeeded' || previous === 'Failed' ? previous : phase;
}

function keepIps(previous: PodStatus | undefined): object {
  return previous?.podIP ? { podIP: previous.podIP, podIPs: previous.podIPs } : {};
}

interface Tally {
  pendingInit: number;
  failedInit: number;
  running: number;
  waiting: number;
  stopped: number;
  succeeded: number;
}

/** The phase, by the kubelet's rules (`getPhase`). */
export function computePhase(pod: AgentPod, statuses: ContainerStatuses, isTerminating: boolean): PodPhase {
  const policy = pod.spec.restartPolicy ?? 'Always';
  const tally = countStates(pod, statuses);
  if (tally.failedInit > 0 && policy === 'Never') return 'Failed';
  const hasStarted = tally.running + tally.stopped > 0;
  if (tally.pendingInit > 0 && !hasStarted) return isTerminating ? 'Failed' : 'Pending';
  if (tally.waiting > 0) return 'Pending';
  if (tally.running > 0) return 'Running';
  if (tally.stopped === 0) return 'Pending';
  if (!isTerminating && policy === 'Always') return 'Running';
  if (tally.stopped === tally.succeeded) return 'Succeeded';
  if (isTerminating || policy === 'Never') return 'Failed';
  return 'Running';
}

function countStates(pod: AgentPod, statuses: ContainerStatuses): Tally {
  const tally: Tally = { pendingInit: 0, failedInit: 0, running: 0, waiting: 0, stopped: 0, succeeded: 0 };
  for (const [index, status] of statuses.initContainerStatuses.entries()) {
    const container = pod.spec.initContainers?.[index];
    const terminated = status.state?.terminated;
    if (container && isSidecar(container)) {
      if (!status.started && !terminated) tally.pendingInit += 1;
    } else if (terminated) {
      if (terminated.exitCode !== 0) tally.failedInit += 1;
    } else tally.pendingInit += 1;
  }
  for (const status of statuses.containerStatuses) {
    const { running, terminated } = status.state ?? {};
    if (running) tally.running += 1;
    else if (terminated) {
      tally.stopped += 1;
      if (terminated.exitCode === 0) tally.succeeded += 1;
    } else if (status.lastState?.terminated) tally.stopped += 1;
    else tally.waiting += 1;
  }
  return tally;
}

interface ConditionState {
  readonly status: 'True' | 'False';
  readonly reason?: string;
  readonly message?: string;
}

function buildConditions(input: PodStatusInput, phase: PodPhase): core.PodCondition[] {
  const { pod, state, statuses, previous, now } = input;
  const hasSandbox = Boolean(
    state.sandboxes[0]?.isReady && (pod.spec.hostNetwork || state.sandboxes[0].ips.length > 0),
  );
  const containersReady = readyState(pod, statuses, phase);
  const states: Readonly<Record<string, ConditionState>> = {
    PodReadyToStartContainers: { status: hasSandbox ? 'True' : 'False' },
    Initialized: initializedState(pod, statuses, phase),
    Ready: gateState(pod, previous, containersReady),
    ContainersReady: containersReady,
    PodScheduled: { status: 'True' },
  };
  const foreign = (previous?.conditions ?? []).filter(({ type }) => !OWN_CONDITIONS.includes(type));
  const own = OWN_CONDITIONS.map((type) => {
    const before = previous?.conditions?.find((condition) => condition.type === type);
    const next = states[type]!;
    const isSame = before?.status === next.status;
    return {
      type,
      ...(pod.metadata.generation === undefined ? {} : { observedGeneration: pod.metadata.generation }),
      ...next,
      lastProbeTime: null,
      lastTransitionTime: isSame && before.lastTransitionTime ? before.lastTransitionTime : now,
    };
  });
  return [...own, ...foreign] as unknown as core.PodCondition[];
}

function initializedState(pod: AgentPod, statuses: ContainerStatuses, phase: PodPhase): ConditionState {
  const init = pod.spec.initContainers ?? [];
  if (phase === 'Succeeded') return { status: 'True', reason: 'PodCompleted' };
  const isPast = statuses.containerStatuses.some(({ state, lastState }) =>
    Boolean(state?.running ?? state?.terminated ?? lastState?.terminated),
  );
  const missing = init
    .filter((container, index) => {
      const status = statuses.initContainerStatuses[index];
      if (isSidecar(container)) return !status?.started;
      return status?.state?.terminated?.exitCode !== 0;
    })
    .map(({ name }) => name);
  if (missing.length === 0 || isPast) return { status: 'True' };
  return {
    status: 'False',
    reason: 'ContainersNotInitialized',
    message: `containers with incomplete status: [${missing.join(' ')}]`,
  };
}

function readyState(pod: AgentPod, statuses: ContainerStatuses, phase: PodPhase): ConditionState {
  if (phase === 'Succeeded') return { status: 'False', reason: 'PodCompleted' };
  if (phase === 'Failed') return { status: 'False', reason: 'PodFailed' };
  const sidecars = statuses.initContainerStatuses.filter((_status, index) => {
    const container = pod.spec.initContainers?.[index];
    return container && isSidecar(container);
  });
  const unready = [...sidecars, ...statuses.containerStatuses]
    .filter(({ ready }) => !ready)
    .map(({ name }) => name);
  if (unready.length === 0) return { status: 'True' };
  return {
    status: 'False',
    reason: 'ContainersNotReady',
    message: `containers with unready status: [${unready.join(' ')}]`,
  };
}

function gateState(
  pod: AgentPod,
  previous: PodStatus | undefined,
  containersReady: ConditionState,
): ConditionState {
  if (containersReady.status === 'False') return containersReady;
  const open = (pod.spec.readinessGates ?? [])
    .map(({ conditionType }) => conditionType)
    .filter((type) => previous?.conditions?.find((condition) => condition.type === type)?.status !== 'True');
  if (open.length === 0) return { status: 'True' };
  return {
    status: 'False',
    reason: 'ReadinessGatesNotReady',
    message: open
      .map(
        (type) => `corresponding condition of pod readiness gate "${type}" does not exist or is not "True"`,
      )
      .join(', '),
  };
}
