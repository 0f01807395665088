import { podEventTarget, startContainer } from './container-starter.ts';
import { buildContainerStatuses, formatMs, type StartFailure } from './container-status.ts';
import type { FieldContext } from './downward-api.ts';
import { type AgentPod, allContainers, type Container, gracePeriodSeconds } from './pod.ts';
import { computePodActions, ephemeralContainers, type PodActions } from './pod-actions.ts';
import { isWorthASync, withForeignConditions } from './pod-changes.ts';
import { cleanUpPod, pruneContainers } from './pod-cleanup.ts';
import { killContainer, killPod } from './pod-killer.ts';
import { type PodPaths, podPaths } from './pod-paths.ts';
import { createSandbox, describeSandbox, type PodPlace, writeHosts } from './pod-sandbox.ts';
import type { PodServices } from './pod-services.ts';
import { buildPodStatus, type PodStatus } from './pod-status.ts';
import type { PodState, SandboxState } from './runtime-state.ts';
import { readTerminationMessage } from './termination-message.ts';
import { hasPayloadVolumes, setUpVolumes } from './volumes/volumes.ts';

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
  #pod: AgentPod;
  #rejection: Rejection | undefined;
  #status: PodStatus | undefined;
  #state: PodState | undefined;
  #endCause: EndCause | undefined;
  #wakeUp: (() => void) | undefined;
  #isWoken = true;
  #timer: NodeJS.Timeout | undefined;
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

  /** Looks at the pod again soon. */
  wake(): void {
    this.#isWoken = true;
    this.#wakeUp?.();
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
    this.wake();
  }

  async #run(): Promise<void> {
    await this.#options.after;
    this.#rejection ??= await this.#options.admit?.();
    while (!this.#stop.signal.aborted) {
      await this.#wait();
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
    this.#schedule(this.#retryMs);
    this.#retryMs = Math.min(this.#retryMs * 2, RETRY_MAX_MS);
  }

  async #wait(): Promise<void> {
    if (!this.#isWoken) {
      await new Promise<void>((resolve) => {
        this.#wakeUp = resolve;
      });
    }
    this.#wakeUp = undefined;
    this.#isWoken = false;
    clearTimeout(this.#timer);
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    // A sync that ends after the agent's stop must not keep the program.
    if (this.#stop.signal.aborted) return;
    this.#timer = setTimeout(() => this.wake(), Math.min(delayMs, 2 ** 31 - 1));
  }

  async #sync(): Promise<void> {
    const { prober, now } = this.#services;
    const state = await this.#read();
    this.#watchProbes(state);
    await this.#publish(state, false);
    if (this.#rejection) return;
    if (this.isDone) return this.#settle(state);
    const actions = computePodActions(this.#pod, state, prober);
    const problems = await this.#perform(actions, state);
    const after = await this.#read();
    this.#watchProbes(after);
    await this.#publish(after, false);
    await pruneContainers(this.#services, this.#pod, after);
    const refreshMs = hasPayloadVolumes(this.#pod) ? this.#refreshAtMs - now() : Number.POSITIVE_INFINITY;
    const nextMs = Math.min(this.#services.config.syncMs, Math.max(refreshMs, 100), ...problems);
    this.#schedule(nextMs);
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
      this.#makeVolumes(state),
      actions.createSandbox ? createSandbox(this.#services, this.#place(), actions.attempt) : actions.sandbox,
    ]);
    if (!sandbox || this.#syncing.signal.aborted) return [];
    return this.#startAll(actions, sandbox, volumes);
  }

  /** Makes the volumes when they are due; they wait for the sandbox only where they need its address. */
  async #makeVolumes(state: PodState): Promise<ReadonlyMap<string, string>> {
    const { services } = { services: this.#services };
    try {
      const volumes = await setUpVolumes({
        pod: this.#pod,
        objects: services.objects,
        tokens: services.tokens,
        fields: this.#fields(state.sandboxes[0]),
        paths: this.#paths,
        now: new Date(services.now()),
      });
      this.#refreshAtMs = services.now() + VOLUME_REFRESH_MS;
      return volumes;
    } catch (error) {
      services.recorder.record(podEventTarget(this.#pod), {
        type: 'Warning',
        reason: 'FailedMount',
        message: (error as Error).message,
      });
      throw error;
    }
  }

  async #startAll(
    actions: PodActions,
    sandbox: SandboxState,
    volumes: ReadonlyMap<string, string>,
  ): Promise<number[]> {
    const containers = [...actions.initToStart, ...actions.toStart];
    if (containers.length === 0) return [];
    const fields = this.#fields(sandbox);
    await writeHosts(this.#services, this.#place(), fields.podIps);
    const sandboxConfig = await describeSandbox(this.#services, this.#place(), sandbox.attempt);
    const retries: number[] = [];
    for (const container of containers) {
      const problem = await this.#startOne(container, { sandbox, sandboxConfig, volumes, fields });
      if (problem !== undefined) retries.push(problem);
    }
    return retries;
  }

  async #startOne(
    container: Container,
    context: Pick<Parameters<typeof startContainer>[1], 'sandbox' | 'sandboxConfig' | 'volumes' | 'fields'>,
  ): Promise<number | undefined> {
    const state = await this.#services.reader.readPod(this.#pod.metadata.uid);
    const problem = await startContainer(this.#services, {
      ...context,
      pod: this.#pod,
      container,
      state,
      paths: this.#paths,
      signal: this.#syncing.signal,
    });
    if (!problem) {
      this.#failures.delete(container.name);
      return undefined;
    }
    this.#failures.set(container.name, { reason: problem.reason, message: problem.message });
    return problem.retryMs;
  }

  #place(): PodPlace {
    return { pod: this.#pod, paths: this.#paths };
  }

  #fields(sandbox: SandboxState | undefined): FieldContext {
    const hostIps = this.#services.hostIps();
    return {
      nodeName: this.#services.nodeName,
      hostIps,
      podIps: this.#pod.spec.hostNetwork ? hostIps : (sandbox?.ips ?? []),
      allocatable: this.#services.allocatable(),
    };
  }

  #watchProbes(state: PodState): void {
    const { prober } = this.#services;
    const running = state.containers.filter((container) => container.state === 'running');
    prober.retain(this.#pod.metadata.uid, new Set(running.map(({ id }) => id)));
    const podIp = this.#fields(state.sandboxes[0]).podIps[0] ?? '';
    for (const container of [...allContainers(this.#pod), ...ephemeralContainers(this.#pod)]) {
      const found = running.find(({ name }) => name === container.name);
      if (!found) continue;
      const { id: containerId, startedAtMs } = found;
      prober.watch({ pod: this.#pod, container, containerId, podIp, startedAtMs });
    }
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
