import type { AgentPod } from './pod.ts';
import type { PodManager } from './pod-manager.ts';

/** The static pods that the manifests ask for; the manager runs them. */
export class StaticPodSet {
  readonly #manager: PodManager;
  readonly #pods = new Map<string, AgentPod>();
  #isKnown: boolean;

  /** `isKnown` when there are no manifests to be read. */
  constructor(manager: PodManager, { isKnown }: { readonly isKnown: boolean }) {
    this.#manager = manager;
    this.#isKnown = isKnown;
  }

  /** True once the manifests were read: a pod that is not here is none of theirs. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  list(): readonly AgentPod[] {
    return [...this.#pods.values()];
  }

  /** Takes the whole set, as it is now. */
  replace(pods: readonly AgentPod[]): void {
    const wanted = new Set(pods.map(({ metadata }) => metadata.uid));
    for (const [uid] of this.#pods) {
      if (wanted.has(uid)) continue;
      this.#pods.delete(uid);
      this.#manager.remove(uid);
    }
    for (const pod of pods) {
      this.#pods.set(pod.metadata.uid, pod);
      this.#manager.apply(pod);
    }
    this.#isKnown = true;
  }
}
