import { setMaxListeners } from 'node:events';
import { type Logger, SILENT_LOGGER } from '../base/log.ts';
import { sleep } from '../base/time.ts';
import { isApiError } from './api-error.ts';
import type { ApiClient } from './client.ts';
import type { Kind, KubeObject } from './kinds.ts';

/** A change of an informer's cache. `previous` is set for MODIFIED and DELETED. */
export interface Change<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly key: string;
  readonly object: T;
  readonly previous?: T | undefined;
}

export interface InformerOptions {
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly signal: AbortSignal;
  readonly log?: Logger;
  /** Applied to each object before it is kept, to drop what nobody reads. */
  readonly transform?: (object: KubeObject) => void;
}

const RETRY_FIRST_MS = 100;
const RETRY_MAX_MS = 5_000;

/** "namespace/name", or "name" for cluster-scoped objects. */
export function objectKey(object: KubeObject): string {
  const { namespace, name } = object.metadata ?? {};
  return namespace ? `${namespace}/${name}` : (name ?? '');
}

/**
 * A local copy of a collection that follows the server: one WatchList request (list + watch where the
 * server has none), resumed for ever with back-off until the signal ends it. Objects are shared: do not
 * change them.
 */
export class Informer<T extends KubeObject> {
  readonly kind: Kind<T>;
  readonly #client: ApiClient;
  readonly #options: InformerOptions;
  readonly #log: Logger;
  readonly #objects = new Map<string, T>();
  readonly #subscribers = new Set<Subscriber<T>>();
  #resourceVersion: string | undefined;
  #isSynced = false;
  #markSynced: () => void = () => {};
  readonly #synced: Promise<void>;

  /** Starts at once. */
  constructor(client: ApiClient, kind: Kind<T>, options: InformerOptions) {
    this.kind = kind;
    this.#client = client;
    this.#options = options;
    this.#log = options.log ?? SILENT_LOGGER;
    this.#synced = new Promise((resolve) => {
      this.#markSynced = resolve;
    });
    // One signal ends many informers.
    setMaxListeners(0, options.signal);
    options.signal.addEventListener('abort', () => this.#end(), { once: true });
    void this.#run();
  }

  /** Resolves once the first full state is in; also when the signal ends the informer before that. */
  synced(): Promise<void> {
    return this.#synced;
  }

  get isSynced(): boolean {
    return this.#isSynced;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): T[] {
    return [...this.#objects.values()];
  }

  keys(): IterableIterator<string> {
    return this.#objects.keys();
  }

  /** Every change from now on, after the present objects as ADDED. Ends with the signal. */
  async *changes(): AsyncGenerator<Change<T>> {
    const subscriber = new Subscriber<T>();
    for (const [key, object] of this.#objects) subscriber.push({ type: 'ADDED', key, object });
    this.#subscribers.add(subscriber);
    try {
      while (!this.#options.signal.aborted) {
        const change = await subscriber.next();
        if (change === undefined) return;
        yield change;
      }
    } finally {
      this.#subscribers.delete(subscriber);
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#options;
    let retryMs = RETRY_FIRST_MS;
    while (!signal.aborted) {
      const startedAt = performance.now();
      try {
        await this.#follow();
        retryMs = RETRY_FIRST_MS;
      } catch (error) {
        if (signal.aborted) return;
        if (isApiError(error) && (error.httpStatus === 410 || error.reason === 'Expired')) {
          this.#resourceVersion = undefined;
        } else this.#log.debug(`Cannot follow ${this.kind.plural}: ${(error as Error).message}`);
      }
      if (performance.now() - startedAt > RETRY_MAX_MS) retryMs = RETRY_FIRST_MS;
      await sleep(retryMs * (0.75 + Math.random() / 2), signal).catch(() => {});
      retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
    }
  }

  async #follow(): Promise<void> {
    const { signal, namespace, labelSelector, fieldSelector } = this.#options;
    const isInitial = this.#resourceVersion === undefined;
    const seen = new Set<string>();
    const events = this.#client.watch(this.kind, {
      namespace,
      labelSelector,
      fieldSelector,
      signal,
      allowBookmarks: true,
      timeoutSeconds: 300 + Math.floor(Math.random() * 300),
      ...(isInitial ? { sendInitialEvents: true } : { resourceVersion: this.#resourceVersion }),
    });
    let isListing = isInitial;
    for await (const event of events) {
      if (event.type === 'ERROR') {
        if (event.object.code === 410 || event.object.reason === 'Expired') this.#resourceVersion = undefined;
        return;
      }
      const key = objectKey(event.object);
      if (event.type === 'BOOKMARK') {
        if (isListing && event.object.metadata?.annotations?.['k8s.io/initial-events-end'] === 'true') {
          isListing = false;
          this.#removeUnseen(seen);
          this.#isSynced = true;
          this.#markSynced();
        }
      } else if (event.type === 'DELETED') this.#remove(key, event.object);
      else {
        if (isListing) seen.add(key);
        this.#options.transform?.(event.object);
        this.#store(key, event.object);
      }
      if (!isListing) this.#resourceVersion = event.object.metadata?.resourceVersion;
    }
  }

  #store(key: string, object: T): void {
    const previous = this.#objects.get(key);
    if (previous && previous.metadata?.resourceVersion === object.metadata?.resourceVersion) return;
    this.#objects.set(key, object);
    this.#publish({ type: previous ? 'MODIFIED' : 'ADDED', key, object, previous });
  }

  #remove(key: string, object: T): void {
    const previous = this.#objects.get(key);
    if (!previous) return;
    this.#objects.delete(key);
    this.#publish({ type: 'DELETED', key, object, previous });
  }

  #removeUnseen(seen: ReadonlySet<string>): void {
    for (const [key, object] of [...this.#objects]) if (!seen.has(key)) this.#remove(key, object);
  }

  #publish(change: Change<T>): void {
    for (const subscriber of this.#subscribers) subscriber.push(change);
  }

  #end(): void {
    this.#markSynced();
    for (const subscriber of this.#subscribers) subscriber.close();
  }
}

/** A queue with one reader. */
class Subscriber<T> {
  #queue: Change<T>[] = [];
  #wake: (() => void) | undefined;
  #isClosed = false;

  push(change: Change<T>): void {
    this.#queue.push(change);
    this.#wake?.();
  }

  close(): void {
    this.#isClosed = true;
    this.#wake?.();
  }

  async next(): Promise<Change<T> | undefined> {
    while (this.#queue.length === 0) {
      if (this.#isClosed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    return this.#queue.shift();
  }
}
