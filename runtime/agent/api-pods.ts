import type * as core from 'kubernetes-types/core/v1.d.ts';
import { Informer, objectKey } from '../api/informer.ts';
import { PODS } from '../api/kinds.ts';
import type { ApiSession } from './api-link.ts';
import { isAgentPod, isMirrorPod } from './pod.ts';
import type { PodManager } from './pod-manager.ts';

export interface ApiPodSourceOptions {
  readonly nodeName: string;
  readonly manager: PodManager;
  /** A pod that is no mirror changed, be it its status alone. */
  readonly onPodChange: (podUid: string) => void;
  /** A mirror pod changed, or the first list is in. */
  readonly onMirrorChange: () => void;
}

/** The pods that the API binds to this node: told to the manager as they change. */
export class ApiPodSource {
  readonly #options: ApiPodSourceOptions;
  readonly #pods = new Map<string, core.Pod>();
  #isSynced = false;

  constructor(options: ApiPodSourceOptions) {
    this.#options = options;
  }

  /** True once the API has told all its pods at least once. */
  get isSynced(): boolean {
    return this.#isSynced;
  }

  /** By "namespace/name", mirror pods too. */
  get pods(): ReadonlyMap<string, core.Pod> {
    return this.#pods;
  }

  async follow(session: ApiSession): Promise<void> {
    const { nodeName, manager, onMirrorChange } = this.#options;
    const fieldSelector = `spec.nodeName=${nodeName}`;
    const informer = new Informer(session.client, PODS, { fieldSelector, signal: session.signal });
    void informer.synced().then(() => {
      if (session.signal.aborted) return;
      // The changes themselves may still be queued: nobody may take these pods for unknown.
      for (const pod of informer.list()) this.#apply(objectKey(pod), pod);
      this.#forgetAbsent(informer);
      this.#isSynced = true;
      onMirrorChange();
    });
    for await (const { type, object } of informer.changes()) {
      const key = objectKey(object);
      if (type !== 'DELETED') this.#apply(key, object);
      else if (this.#pods.get(key)?.metadata?.uid === object.metadata?.uid) {
        this.#pods.delete(key);
        if (!isMirrorPod(object)) manager.remove(object.metadata?.uid ?? '');
      }
      if (isMirrorPod(object)) onMirrorChange();
    }
  }

  #apply(key: string, pod: core.Pod): void {
    const before = this.#pods.get(key);
    if (before && before.metadata?.uid !== pod.metadata?.uid && !isMirrorPod(before)) {
      this.#options.manager.remove(before.metadata?.uid ?? '');
    }
    this.#pods.set(key, pod);
    if (isMirrorPod(pod) || !isAgentPod(pod)) return;
    this.#options.manager.apply(pod);
    this.#options.onPodChange(pod.metadata.uid);
  }

  /** A new session's first list lacks what was deleted in between. */
  #forgetAbsent(informer: Informer<core.Pod>): void {
    for (const [key, pod] of this.#pods) {
      if (informer.get(key)) continue;
      this.#pods.delete(key);
      if (!isMirrorPod(pod)) this.#options.manager.remove(pod.metadata?.uid ?? '');
    }
  }
}
