import type { Logger } from '../base/log.ts';
import { admitPod } from './admission.ts';
import { podEventTarget } from './container-starter.ts';
import { type AgentPod, podKey } from './pod.ts';
import type { PodServices } from './pod-services.ts';
import { PodWorker, type Rejection } from './pod-worker.ts';

/** Owns the workers of all pods of the node; the sources tell it what should run. */
export class PodManager {
  readonly #services: PodServices;
  readonly #nodeLabels: () => Readonly<Record<string, string>> | undefined;
  readonly #log: Logger;
  readonly #workers = new Map<string, PodWorker>();
  /** Pods that came back to their source while they are being removed, by uid: a manifest that was put back. */
  readonly #returned = new Map<string, AgentPod>();
  #isStopped = false;

  constructor(
    services: PodServices,
    options: { readonly nodeLabels: () => Readonly<Record<string, string>> | undefined },
  ) {
    this.#services = services;
    this.#nodeLabels = options.nodeLabels;
    this.#log = services.log;
  }

  /** A pod appeared or changed in its source. */
  apply(pod: AgentPod): void {
    if (this.#isStopped) return;
    const { uid } = pod.metadata;
    const present = this.#workers.get(uid);
    if (present?.isRemoved) this.#returned.set(uid, pod);
    else if (present) present.update(pod);
    else this.#start(pod);
  }

  /** A pod is gone from its source. */
  remove(uid: string): void {
    this.#returned.delete(uid);
    this.#workers.get(uid)?.end('removed');
  }

  /** Something of this pod changed in the runtime or in its probes. */
  wake(uid: string): void {
    this.#workers.get(uid)?.wake();
  }

  worker(uid: string): PodWorker | undefined {
    return this.#workers.get(uid);
  }

  /** The worker of "namespace/name"; of two, the one that is not ending. */
  findByKey(key: string): PodWorker | undefined {
    const found = [...this.#workers.values()].filter(({ pod }) => podKey(pod) === key);
    return found.find(({ isDone }) => !isDone) ?? found[0];
  }

  workers(): PodWorker[] {
    return [...this.#workers.values()];
  }

  has(uid: string): boolean {
    return this.#workers.has(uid);
  }

  /** Whether containers of the pod run or may still be started. */
  isUsing(uid: string): boolean {
    const worker = this.#workers.get(uid);
    return worker !== undefined && !worker.isRejected && !isEnded(worker.status?.phase);
  }

  /** Ends the workers and leaves the pods running. */
  stop(): void {
    this.#isStopped = true;
    for (const worker of this.#workers.values()) worker.abandon();
  }

  #start(pod: AgentPod): void {
    const { uid } = pod.metadata;
    const older = [...this.#workers.values()].find((worker) => podKey(worker.pod) === podKey(pod));
    const hasRun = (pod.status?.containerStatuses?.length ?? 0) > 0;
    const isNew = !pod.metadata.deletionTimestamp && !hasRun;
    const rejection = isNew ? this.#admit(pod) : undefined;
    if (rejection) this.#recordRejection(pod, rejection);
    // Variables and files of a new pod come from what the API has now.
    this.#services.objects.expire(pod.metadata.namespace);
    const worker = new PodWorker(pod, this.#services, {
      rejection,
      after: older?.finished,
      admit: isNew && !rejection ? () => this.#giveDevices(pod) : undefined,
    });
    this.#workers.set(uid, worker);
    if (pod.metadata.deletionTimestamp) worker.end('deleted');
    void worker.finished.then(
      () => {
        this.#workers.delete(uid);
        this.#startReturned(uid);
        void this.#services.shareCpu();
      },
      (error: Error) => this.#log.error(`Worker of pod "${podKey(pod)}" broke: ${error.message}`),
    );
  }

  #startReturned(uid: string): void {
    const pod = this.#returned.get(uid);
    this.#returned.delete(uid);
    if (pod) this.apply(pod);
  }

  #recordRejection(pod: AgentPod, rejection: Rejection): void {
    this.#services.recorder.record(podEventTarget(pod), { type: 'Warning', ...rejection });
    this.#log.info(`Rejected pod "${podKey(pod)}"`, { reason: rejection.reason });
  }

  async #giveDevices(pod: AgentPod): Promise<Rejection | undefined> {
    try {
      await this.#services.devices.allocate(pod);
      return undefined;
    } catch (error) {
      const message = `Pod was rejected: Allocate failed due to ${(error as Error).message}, which is unexpected`;
      const rejection = { reason: 'UnexpectedAdmissionError', message };
      this.#recordRejection(pod, rejection);
      return rejection;
    }
  }

  #admit(pod: AgentPod): Rejection | undefined {
    const active = this.workers().filter(({ isDone, isRejected }) => !isDone && !isRejected);
    return admitPod(pod, {
      active: active.map((worker) => worker.pod),
      allocatable: this.#services.allocatable(),
      allowedUnsafeSysctls: this.#services.config.allowedUnsafeSysctls,
      nodeLabels: this.#nodeLabels(),
    });
  }
}

function isEnded(phase: string | undefined): boolean {
  return phase === 'Failed' || phase === 'Succeeded';
}
