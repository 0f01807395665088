import type * as core from 'kubernetes-types/core/v1.d.ts';
import { CONFIG_MAPS, type Kind, type KubeObject, SECRETS } from '../api/kinds.ts';
import type { ApiLink } from './api-link.ts';
import type { ObjectSource } from './environment.ts';

interface Held {
  readonly object: Promise<KubeObject | undefined>;
  readonly atMs: number;
}

const DEFAULT_TTL_MS = 30_000;

/**
 * ConfigMaps and Secrets by single GETs (all that the node authorizer allows), held for half a minute so
 * that volumes follow a change within a minute and many pods cost one request.
 */
export class ApiObjectSource implements ObjectSource {
  readonly #link: ApiLink;
  readonly #now: () => number;
  readonly #ttlMs: number;
  readonly #held = new Map<string, Held>();

  constructor(link: ApiLink, now: () => number, ttlMs = DEFAULT_TTL_MS) {
    this.#link = link;
    this.#now = now;
    this.#ttlMs = ttlMs;
  }

  configMap(namespace: string, name: string): Promise<core.ConfigMap | undefined> {
    return this.#read(CONFIG_MAPS, namespace, name);
  }

  secret(namespace: string, name: string): Promise<core.Secret | undefined> {
    return this.#read(SECRETS, namespace, name);
  }

  /** Forgets what is too old to be used, and with a namespace all of that namespace: a new pod reads fresh. */
  expire(namespace?: string): void {
    for (const [key, { atMs }] of this.#held) {
      const isOld = this.#now() - atMs > this.#ttlMs;
      if (isOld || (namespace !== undefined && key.split('/')[1] === namespace)) this.#held.delete(key);
    }
  }

  async #read<T extends KubeObject>(kind: Kind<T>, namespace: string, name: string): Promise<T | undefined> {
    const key = `${kind.plural}/${namespace}/${name}`;
    const held = this.#held.get(key);
    if (held && this.#now() - held.atMs < this.#ttlMs) return held.object as Promise<T | undefined>;
    const object = this.#link.requireClient().find(kind, { namespace, name });
    this.#held.set(key, { object, atMs: this.#now() });
    try {
      const found = await object;
      if (!found) this.#held.delete(key);
      return found;
    } catch (error) {
      this.#held.delete(key);
      throw error;
    }
  }
}
