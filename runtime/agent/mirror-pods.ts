import type * as core from 'kubernetes-types/core/v1.d.ts';
import { isApiError } from '../api/api-error.ts';
import { PODS } from '../api/kinds.ts';
import type { Logger } from '../base/log.ts';
import type { ApiLink } from './api-link.ts';
import { type AgentPod, CONFIG_HASH, CONFIG_MIRROR, podKey } from './pod.ts';

export interface MirrorPodsOptions {
  readonly link: ApiLink;
  readonly staticPods: () => readonly AgentPod[];
  /** Pods of this node as the API has them, by "namespace/name". */
  readonly apiPods: () => ReadonlyMap<string, core.Pod>;
  /** The Node's name and UID once it is registered. */
  readonly node: () => { readonly name: string; readonly uid: string } | undefined;
  /** A mirror pod is there: its status can be written. */
  readonly onMirror: (podUid: string) => void;
  readonly log: Logger;
}

/** Keeps one API object for each static pod, so that the cluster sees it; made anew when deleted or changed. */
export class MirrorPods {
  readonly #options: MirrorPodsOptions;
  #isBusy = false;
  #isAsked = false;

  constructor(options: MirrorPodsOptions) {
    this.#options = options;
  }

  /** Compares and mends; a call during another runs after it. */
  async reconcile(): Promise<void> {
    this.#isAsked = true;
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      while (this.#isAsked) {
        this.#isAsked = false;
        await this.#reconcileOnce();
      }
    } finally {
      this.#isBusy = false;
    }
  }

  async #reconcileOnce(): Promise<void> {
    const { link, staticPods, apiPods, node, log } = this.#options;
    if (!link.client || !node()) return;
    const wanted = new Map(staticPods().map((pod) => [podKey(pod), pod]));
    for (const pod of wanted.values()) {
      await this.#mend(pod, apiPods().get(podKey(pod))).catch((error: Error) =>
        log.debug(`Cannot make the mirror of "${podKey(pod)}": ${error.message}`),
      );
    }
    for (const [key, mirror] of apiPods()) {
      if (mirror.metadata?.annotations?.[CONFIG_MIRROR] === undefined || wanted.has(key)) continue;
      await this.#delete(mirror).catch((error: Error) =>
        log.debug(`Cannot delete mirror "${key}": ${error.message}`),
      );
    }
  }

  async #mend(pod: AgentPod, present: core.Pod | undefined): Promise<void> {
    if (present) {
      const isCurrent =
        present.metadata?.annotations?.[CONFIG_MIRROR] === pod.metadata.annotations?.[CONFIG_HASH];
      if (isCurrent && !present.metadata?.deletionTimestamp) return;
      await this.#delete(present);
    }
    const node = this.#options.node();
    if (!node) return;
    try {
      await this.#options.link.requireClient().create(PODS, buildMirrorPod(pod, node));
    } catch (error) {
      if (!isApiError(error, 'AlreadyExists')) throw error;
    }
    this.#options.onMirror(pod.metadata.uid);
  }

  async #delete(pod: core.Pod): Promise<void> {
    const { name = '', namespace, uid } = pod.metadata ?? {};
    const preconditions = uid ? { preconditions: { uid } } : {};
    try {
      await this.#options.link
        .requireClient()
        .delete(PODS, { name, namespace }, { gracePeriodSeconds: 0, ...preconditions });
    } catch (error) {
      if (!isApiError(error, 'NotFound') && !isApiError(error, 'Conflict')) throw error;
    }
  }
}

/** The API object for a static pod: annotation config.mirror, owned by the Node. */
function buildMirrorPod(pod: AgentPod, node: { readonly name: string; readonly uid: string }): core.Pod {
  const { name, namespace, labels, annotations } = pod.metadata;
  return {
    metadata: {
      name,
      namespace,
      ...(labels ? { labels } : {}),
      annotations: { ...annotations, [CONFIG_MIRROR]: annotations?.[CONFIG_HASH] ?? '' },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: node.name, uid: node.uid, controller: true }],
    },
    spec: pod.spec,
  };
}
