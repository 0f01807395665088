import type * as core from 'kubernetes-types/core/v1.d.ts';
import { hashContainer } from './container-hash.ts';
import { type AgentPod, type Container, isSidecar } from './pod.ts';
import { type ContainerState, newestByName, type PodState, type SandboxState } from './runtime-state.ts';

/** What probes say about a container instance. */
export interface ProbeVerdicts {
  isStarted(containerId: string): boolean;
  hasFailedLiveness(containerId: string): boolean;
  hasFailedStartup(containerId: string): boolean;
}

export interface ContainerToKill {
  readonly state: ContainerState;
  readonly name: string;
  readonly message: string;
}

/** The steps that bring a pod from what is to what should be. */
export interface PodActions {
  /** Stop everything and keep it stopped, or (with createSandbox) begin again. */
  readonly killPod: boolean;
  readonly createSandbox: boolean;
  readonly attempt: number;
  readonly sandbox: SandboxState | undefined;
  readonly toKill: readonly ContainerToKill[];
  readonly initToStart: readonly Container[];
  readonly toStart: readonly Container[];
}

/**
 * Decides what a pod needs now, in the order of the kubelet: sandbox, init containers one after another,
 * sidecars, containers; restarts by restartPolicy, changed image and failed probes. Pure.
 */
export function computePodActions(pod: AgentPod, state: PodState, probes: ProbeVerdicts): PodActions {
  const latest = state.sandboxes[0];
  const sandbox = findUsableSandbox(pod, state);
  const attempt = latest ? latest.attempt + 1 : 0;
  if (!sandbox) return actionsWithoutSandbox(pod, state, attempt);
  const newest = newestByName(state);
  const current = (name: string) => {
    const found = newest.get(name);
    return found?.sandboxId === sandbox.id ? found : undefined;
  };
  const plan = new Plan(pod, probes);
  const isInitialized = planInit(plan, current);
  if (plan.killPod || !isInitialized) return plan.build(sandbox, attempt);
  let kept = 0;
  for (const container of pod.spec.containers) {
    if (
      planContainer(plan, container, {
        state: newest.get(container.name),
        isCurrent: current(container.name) !== undefined,
      })
    )
      kept += 1;
  }
  for (const container of ephemeralContainers(pod)) {
    if (!newest.has(container.name)) plan.toStart.push(container);
  }
  if (kept === 0 && plan.toStart.length === 0 && plan.toKill.length === 0) {
    plan.killPod = true;
    plan.initToStart.length = 0;
  }
  return plan.build(sandbox, attempt);
}

class Plan {
  killPod = false;
  readonly toKill: ContainerToKill[] = [];
  readonly initToStart: Container[] = [];
  readonly toStart: Container[] = [];
  readonly pod: AgentPod;
  readonly probes: ProbeVerdicts;

  constructor(pod: AgentPod, probes: ProbeVerdicts) {
    this.pod = pod;
    this.probes = probes;
  }

  build(sandbox: SandboxState, attempt: number): PodActions {
    const { killPod, toKill, initToStart, toStart } = this;
    return { killPod, createSandbox: false, attempt, sandbox, toKill, initToStart, toStart };
  }
}

/** The newest sandbox if it is ready, alone and has its address. */
function findUsableSandbox(pod: AgentPod, state: PodState): SandboxState | undefined {
  const [latest] = state.sandboxes;
  if (!latest?.isReady) return undefined;
  if (state.sandboxes.filter((sandbox) => sandbox.isReady).length > 1) return undefined;
  return pod.spec.hostNetwork || latest.ips.length > 0 ? latest : undefined;
}

function actionsWithoutSandbox(pod: AgentPod, state: PodState, attempt: number): PodActions {
  const none = {
    killPod: true,
    createSandbox: false,
    attempt,
    sandbox: undefined,
    toKill: [],
    initToStart: [],
    toStart: [],
  };
  const policy = pod.spec.restartPolicy ?? 'Always';
  if (policy === 'Never' && attempt !== 0 && state.containers.length > 0) return none;
  const newest = newestByName(state);
  const toStart = pod.spec.containers.filter((container) => {
    const found = newest.get(container.name);
    return !(policy === 'OnFailure' && found?.state === 'exited' && found.exitCode === 0);
  });
  if (toStart.length === 0) return none;
  const [firstInit] = pod.spec.initContainers ?? [];
  const base = { ...none, killPod: state.sandboxes.length > 0, createSandbox: true };
  return firstInit ? { ...base, initToStart: [firstInit] } : { ...base, toStart };
}

/** Plans init containers; true when ordinary containers may run. */
function planInit(plan: Plan, current: (name: string) => ContainerState | undefined): boolean {
  const { pod, probes } = plan;
  const isInitialized = pod.spec.containers.some((container) => current(container.name) !== undefined);
  for (const container of pod.spec.initContainers ?? []) {
    const found = current(container.name);
    if (isSidecar(container)) {
      const isRunning = found?.state === 'running';
      if (!isRunning) plan.initToStart.push(container);
      else planRunning(plan, container, found, plan.initToStart);
      const isUp = isRunning && (!container.startupProbe || probes.isStarted(found.id));
      if (!isInitialized && !isUp) return false;
      continue;
    }
    if (isInitialized) continue;
    if (!found) {
      plan.initToStart.push(container);
      return false;
    }
    if (found.state !== 'exited') {
      if (found.state === 'unknown')
        plan.toKill.push(toKill(container, found, 'Init container is in an unknown state'));
      return false;
    }
    if (found.exitCode === 0) continue;
    if (pod.spec.restartPolicy === 'Never') plan.killPod = true;
    else plan.initToStart.push(container);
    return false;
  }
  return true;
}

interface Found {
  readonly state: ContainerState | undefined;
  /** It belongs to the sandbox in use. */
  readonly isCurrent: boolean;
}

/** Plans one ordinary container; true when it runs and stays. */
function planContainer(plan: Plan, container: Container, { state, isCurrent }: Found): boolean {
  if (state?.state === 'running' && isCurrent) return planRunning(plan, container, state, plan.toStart);
  if (state?.state === 'created' && isCurrent) {
    // Created and never started: the agent ended in between. Begin again with a new one.
    plan.toKill.push(toKill(container, state, 'Container was created and not started'));
  }
  if (shouldRestart(plan.pod, state)) plan.toStart.push(container);
  return false;
}

/** Plans a running container: kept (true), or killed and perhaps started again. */
function planRunning(plan: Plan, container: Container, state: ContainerState, toStart: Container[]): boolean {
  const verdict = findFault(plan, container, state);
  if (!verdict) return true;
  const isRestarted =
    verdict.isForced || isSidecar(container) || (plan.pod.spec.restartPolicy ?? 'Always') !== 'Never';
  if (isRestarted) toStart.push(container);
  plan.toKill.push(
    toKill(container, state, isRestarted ? `${verdict.message}, will be restarted` : verdict.message),
  );
  return false;
}

function findFault(
  { probes }: Plan,
  container: Container,
  state: ContainerState,
): { readonly message: string; readonly isForced: boolean } | undefined {
  if (state.hash !== '' && state.hash !== hashContainer(container)) {
    return { message: `Container ${container.name} definition changed`, isForced: true };
  }
  if (probes.hasFailedLiveness(state.id)) {
    return { message: `Container ${container.name} failed liveness probe`, isForced: false };
  }
  if (probes.hasFailedStartup(state.id)) {
    return { message: `Container ${container.name} failed startup probe`, isForced: false };
  }
  return undefined;
}

/** True when a container that does not run should be started, by the pod's restartPolicy. */
export function shouldRestart(pod: AgentPod, state: ContainerState | undefined): boolean {
  if (pod.metadata.deletionTimestamp) return false;
  if (!state || state.state === 'created' || state.state === 'unknown') return true;
  if (state.state === 'running') return false;
  const policy = pod.spec.restartPolicy ?? 'Always';
  if (policy === 'Never') return false;
  return policy === 'Always' || state.exitCode !== 0;
}

/** The pod's ephemeral containers as containers. */
export function ephemeralContainers(pod: AgentPod): Container[] {
  return (pod.spec.ephemeralContainers ?? []).map(
    (container: core.EphemeralContainer) => container as Container,
  );
}

function toKill(container: Container, state: ContainerState, message: string): ContainerToKill {
  return { state, name: container.name, message };
}
