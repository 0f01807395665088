import { Alarm } from './alarm.ts';
import { startContainers } from './container-starts.ts';
import { buildContainerStatuses, formatMs, type StartFailure } from './container-status.ts';
import { type AgentPod, gracePeriodSeconds } from './pod.ts';
import { computePodActions, type PodActions } from './pod-actions.ts';
import { isWorthASync, withForeignConditions } from './pod-changes.ts';
import { cleanUpPod, pruneContainers } from './pod-cleanup.ts';
import { killContainer, killPod } from './pod-killer.ts';
import { type PodPaths, podPaths } from './pod-paths.ts';
import { watchProbes } from './pod-probes.ts';
import { createSandbox, type PodPlace } from './pod-sandbox.ts';
import type { PodServices } from './pod-services.ts';
import { buildPodStatus, type PodStatus } from './pod-status.ts';
import { makePodVolumes } from './pod-volumes.ts';
import type { PodState, SandboxState } from './runtime-state.ts';
import { readTerminationMessage } from './termination-message.ts';
import { hasPayloadVolumes } from './volumes/volumes.ts';

export interface Rejection {
  readonly reason: string;
  readonly message: string;
}

export interface PodWorkerOptions {
  /** The node does not take the pod: its status says why and nothing runs. */
  readonly rejection?: Rejection | undefined;
  /** Before the first look at the pod: an older pod of the same name still has to end. */
  readonly after?: Promise<void> | undefined;
  /** Then: the last that may reject it. */
  readonly admit?: (() => Promise<Rejection | undefined>) | undefined;
}

/** Why a pod ends: deleted through the API, or gone from its source without that. */
export type EndCause = 'deleted' | 'removed';

const VOLUME_REFRESH_MS = 30_000;
const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;

/**
 * Brings one pod from what is to what should be, one step after another: woken by changes of the pod, of
 * its containers and of its probes, and by time. Ends when the pod is gone from the node.
 */
export class PodWorker {
  readonly #services: PodServices;
  readonly #options: PodWorkerOptions;
  readonly #paths: PodPaths;
  readonly #startedAt: string;
  readonly #failures = new Map<string, StartFailure>();
  readonly #messages = new Map<string, string>();
  readonly #stop = new AbortController();
  readonly #syncing = new AbortController();
  readonly #alarm = new Alarm();
  #pod: AgentPod;
  #rejection: Rejection | undefined;
  #status: PodStatus | undefined;
  #state: PodState | undefined;
  #endCause: EndCause | undefined;
  #retryMs = RETRY_FIRST_MS;
  #refreshAtMs = Number.POSITIVE_INFINITY;
  #isKilled = false;
  /** Resolves when nothing of the pod is left on the node. */
  readonly finished: Promise<void>;

  constructor(pod: AgentPod, services: PodServices, options: PodWorkerOptions = {}) {
    this.#pod = pod;
    this.#rejection = options.rejection;
    this.#services = services;
    this.#options = options;
    this.#status = pod.status;
    this.#startedAt = formatMs(services.now());
    this.#paths = podPaths(pod, { rootDir: services.rootDir, podLogsDir: services.config.podLogsDir });
    this.finished = this.#run();
  }

  get pod(): AgentPod {
    return this.#pod;
  }

  get status(): PodStatus | undefined {
    return this.#status;
  }

  get state(): PodState | undefined {
    return this.#state;
  }

  get isRejected(): boolean {
    return this.#rejection !== undefined;
  }

  /** True once the pod has run to its end or is being removed: it uses no resources of the node. */
  get isDone(): boolean {
    return (
      this.#endCause !== undefined || this.#status?.phase === 'Failed' || this.#status?.phase === 'Succeeded'
    );
  }

  /** True once its source has no such pod. */
  get isRemoved(): boolean {
    return this.#endCause === 'removed';
  }

  /** Looks at the pod again soon. */
  wake(): void {
    this.#alarm.ring();
  }

  /** Takes a newer version of the pod. */
  update(pod: AgentPod): void {
    const before = this.#pod;
    this.#pod = pod;
    if (pod.metadata.deletionTimestamp) this.end('deleted');
    else if (isWorthASync(before, pod)) this.wake();
  }

  /** Ends the pod: stops it and removes all that it has on the node. */
  end(cause: EndCause): void {
    if (this.#endCause === undefined || cause === 'removed') this.#endCause = cause;
    this.#syncing.abort();
    this.wake();
  }

  /** Leaves the pod as it is and ends the worker: the agent stops. */
  abandon(): void {
    this.#stop.abort();
    this.#syncing.abort();
    this.#alarm.turnOff();
  }

  async #run(): Promise<void> {
    await this.#options.after;
    this.#rejection ??= await this.#options.admit?.();
    while (!this.#stop.signal.aborted) {
      await this.#alarm.rung();
      if (this.#stop.signal.aborted) return;
      try {
        if (this.#endCause) {
          await this.#terminate();
          return;
        }
        await this.#sync();
        this.#retryMs = RETRY_FIRST_MS;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (this.#endCause && this.#syncing.signal.aborted && !this.#isKilled) this.wake();
        else this.#retryLater(error as Error);
      }
    }
  }

  #retryLater(error: Error): void {
    const { name, namespace } = this.#pod.metadata;
    this.#services.log.warn(`Cannot sync pod "${namespace}/${name}": ${error.message}`);
    this.#alarm.ringIn(this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
  }

  async #sync(): Promise<void> {
    const { prober, now } = this.#services;
    const state = await this.#read();
    watchProbes(this.#services, this.#pod, state);
    await this.#publish(state, false);
    if (this.#rejection) return;
    if (this.isDone) return this.#settle(state);
    const actions = computePodActions(this.#pod, state, prober);
    const problems = await this.#perform(actions, state);
    const after = await this.#read();
    watchProbes(this.#services, this.#pod, after);
    await this.#publish(after, false);
    await pruneContainers(this.#services, this.#pod, after);
    const refreshMs = hasPayloadVolumes(this.#pod) ? this.#refreshAtMs - now() : Number.POSITIVE_INFINITY;
    const nextMs = Math.min(this.#services.config.syncMs, Math.max(refreshMs, 100), ...problems);
    this.#alarm.ringIn(nextMs);
    if (hasFinishedStep(actions)) this.wake();
  }

  async #read(): Promise<PodState> {
    const state = await this.#services.reader.readPod(this.#pod.metadata.uid);
    this.#state = state;
    for (const container of state.containers) {
      if (container.state === 'exited' && !this.#messages.has(container.id)) {
        this.#messages.set(container.id, await readTerminationMessage(container));
      }
    }
    return state;
  }

  /** A pod that has run to its end keeps its containers for their logs, and nothing runs. */
  async #settle(state: PodState): Promise<void> {
    const isRunning = state.sandboxes.some(({ isReady }) => isReady);
    if (isRunning) await this.#kill(state);
  }

  async #kill(state: PodState): Promise<void> {
    await killPod(this.#services, {
      pod: this.#pod,
      state,
      graceSeconds: gracePeriodSeconds(this.#pod),
      signal: this.#stop.signal,
    });
  }

  /** Performs the actions; returns the delays after which something has to be tried again. */
  async #perform(actions: PodActions, state: PodState): Promise<number[]> {
    if (actions.killPod) {
      await this.#kill(state);
      if (!actions.createSandbox) return [];
    }
    const deadline = this.#services.now() + gracePeriodSeconds(this.#pod) * 1000;
    await Promise.all(
      actions.toKill.map((kill) =>
        killContainer(this.#services, kill.state, {
          pod: this.#pod,
          deadline,
          message: kill.message,
          state,
          signal: this.#stop.signal,
        }),
      ),
    );
    this.#syncing.signal.throwIfAborted();
    const [volumes, sandbox] = await Promise.all([
      this.#makeVolumes(state.sandboxes[0]),
      actions.createSandbox ? createSandbox(this.#services, this.#place(), actions.attempt) : actions.sandbox,
    ]);
    if (!sandbox || this.#syncing.signal.aborted) return [];
    const failures = this.#failures;
    const { signal } = this.#syncing;
    return startContainers(this.#services, this.#place(), { actions, sandbox, volumes, failures, signal });
  }

  /** They wait for the sandbox only where they need its address. */
  async #makeVolumes(sandbox: SandboxState | undefined): Promise<ReadonlyMap<string, string>> {
    const volumes = await makePodVolumes(this.#services, this.#place(), sandbox);
    this.#refreshAtMs = this.#services.now() + VOLUME_REFRESH_MS;
    return volumes;
  }

  #place(): PodPlace {
    return { pod: this.#pod, paths: this.#paths };
  }

  async #publish(state: PodState, isTerminating: boolean): Promise<void> {
    const { prober, statuses, hostIps, now, runtimeName } = this.#services;
    const status = buildPodStatus({
      pod: this.#pod,
      state,
      statuses: buildContainerStatuses({
        pod: this.#pod,
        state,
        runtimeName: runtimeName(),
        failures: this.#failures,
        terminationMessages: this.#messages,
        isReady: (_container, id) => prober.isReady(id),
        isStarted: (_container, id) => prober.isStarted(id),
        isTerminating,
      }),
      previous: withForeignConditions(this.#status, this.#pod.status),
      hostIps: hostIps(),
      now: formatMs(now()),
      startTime: this.#startedAt,
      isTerminating,
      rejection: this.#rejection,
    });
    this.#status = status;
    statuses.set(this.#pod.metadata.uid, status);
  }

  async #terminate(): Promise<void> {
    const { prober, statuses } = this.#services;
    const { uid } = this.#pod.metadata;
    const state = await this.#read();
    await this.#kill(state);
    this.#isKilled = true;
    prober.retain(uid, new Set());
    const after = await this.#read();
    if (this.#endCause === 'deleted') {
      await this.#publish(after, true);
      await statuses.flush(uid);
    }
    await cleanUpPod(this.#services, {
      pod: this.#pod,
      state: after,
      paths: this.#paths,
      cause: this.#endCause ?? 'removed',
    });
    statuses.forget(uid);
  }
}

/** True when the actions were such that the next look may find more to do at once. */
function hasFinishedStep(actions: PodActions): boolean {
  return actions.killPod && !actions.createSandbox;
}
