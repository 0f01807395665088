import { setMaxListeners } from 'node:events';
import type { ApiClient } from '../../api/client.ts';
import { type Change, Informer } from '../../api/informer.ts';
import type { Kind, KubeObject } from '../../api/kinds.ts';
import { type Logger, SILENT_LOGGER } from '../../base/log.ts';
import { keyOf } from './objects.ts';
import { kindKey, ObjectStore, StoreView } from './view.ts';

export interface ClusterCacheOptions {
  readonly signal: AbortSignal;
  readonly log?: Logger;
}

export type ChangeListener = (change: Change<KubeObject>) => void;

interface Collection {
  readonly informer: Informer<KubeObject>;
  readonly store: ObjectStore<KubeObject>;
  readonly listeners: Set<ChangeListener>;
  readonly waiters: Set<() => void>;
  newestVersion: string;
}

/**
 * One informer per kind for the whole process, with indexes, and with a way to wait until the copy has
 * caught up with a write ("read your writes"), which makes over-creation impossible without bookkeeping.
 */
export class ClusterCache {
  readonly view: StoreView;
  readonly #client: ApiClient;
  readonly #signal: AbortSignal;
  readonly #log: Logger;
  readonly #collections = new Map<string, Collection>();
  readonly #stores = new Map<string, ObjectStore<KubeObject>>();

  constructor(client: ApiClient, options: ClusterCacheOptions) {
    this.#client = client;
    this.#signal = options.signal;
    this.#log = options.log ?? SILENT_LOGGER;
    // One listener for each collection and request.
    setMaxListeners(0, options.signal);
    this.view = new StoreView(this.#stores);
  }

  /** Starts to follow the kind, unless that is so already. */
  follow(kind: Kind<KubeObject>, transform: (object: KubeObject) => void = stripObject): void {
    const key = kindKey(kind);
    if (this.#collections.has(key)) return;
    const informer = new Informer(this.#client, kind, { signal: this.#signal, log: this.#log, transform });
    const store = new ObjectStore(kind);
    const collection: Collection = {
      informer,
      store,
      listeners: new Set(),
      waiters: new Set(),
      newestVersion: '0',
    };
    this.#collections.set(key, collection);
    this.#stores.set(key, store);
    void this.#run(collection);
  }

  has(kind: Kind<KubeObject>): boolean {
    return this.#collections.has(kindKey(kind));
  }

  /** Resolves once the first full state of the kinds is in. */
  async synced(kinds: readonly Kind<KubeObject>[]): Promise<void> {
    await Promise.all(kinds.map((kind) => this.#collection(kind).informer.synced()));
    // The informer is ahead of the indexes by its queue of changes.
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Calls `listener` for each change, first for every present object as ADDED. */
  subscribe(kind: Kind<KubeObject>, listener: ChangeListener): void {
    for (const change of this.present(kind)) listener(change);
    this.#collection(kind).listeners.add(listener);
  }

  /** The objects that are there, as ADDED. */
  present(kind: Kind<KubeObject>): readonly Change<KubeObject>[] {
    return this.#collection(kind)
      .store.list()
      .map((object) => ({ type: 'ADDED', key: keyOf(object.metadata), object }));
  }

  /** Resolves once the local copy is as new as this version; false when that takes too long. */
  caughtUp(kind: Kind<KubeObject>, resourceVersion: string, timeoutMs = 10_000): Promise<boolean> {
    const collection = this.#collections.get(kindKey(kind));
    if (!collection) return Promise.resolve(true);
    return this.#until(
      collection,
      () => compareVersions(collection.newestVersion, resourceVersion) >= 0,
      timeoutMs,
    );
  }

  /** Resolves once the local copy knows that the object is being deleted or gone; false on timeout. */
  sawDeletion(
    kind: Kind<KubeObject>,
    key: string,
    uid: string | undefined,
    timeoutMs = 10_000,
  ): Promise<boolean> {
    const collection = this.#collections.get(kindKey(kind));
    if (!collection) return Promise.resolve(true);
    const isGone = () => {
      const metadata = collection.store.get(key)?.metadata;
      return !metadata || metadata.uid !== uid || metadata.deletionTimestamp !== undefined;
    };
    return this.#until(collection, isGone, timeoutMs);
  }

  async #run(collection: Collection): Promise<void> {
    for await (const change of collection.informer.changes()) {
      if (change.type === 'DELETED') collection.store.delete(change.key);
      else collection.store.set(change.object);
      const version = change.object.metadata?.resourceVersion ?? '0';
      if (compareVersions(version, collection.newestVersion) > 0) collection.newestVersion = version;
      for (const listener of collection.listeners) listener(change);
      for (const wake of [...collection.waiters]) wake();
    }
  }

  #until(collection: Collection, isTrue: () => boolean, timeoutMs: number): Promise<boolean> {
    if (isTrue()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const finish = (result: boolean) => {
        collection.waiters.delete(check);
        clearTimeout(timer);
        resolve(result);
      };
      const check = () => {
        if (isTrue()) finish(true);
      };
      const timer = setTimeout(() => finish(false), timeoutMs);
      timer.unref();
      collection.waiters.add(check);
    });
  }

  #collection(kind: Kind<KubeObject>): Collection {
    this.follow(kind);
    return this.#collections.get(kindKey(kind))!;
  }
}

/** Orders resourceVersions: decimal integers of up to 128 bits. */
function compareVersions(left: string, right: string): number {
  if (left.length !== right.length) return left.length - right.length;
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Drops what no controller reads: managedFields, and the data of ConfigMaps and Secrets but a few. */
function stripObject(object: KubeObject): void {
  const { metadata } = object;
  if (!metadata) return;
  delete metadata.managedFields;
  const content = object as KubeObject & { data?: unknown; binaryData?: unknown; type?: string };
  if (object.kind === 'ConfigMap' && !KEPT_CONFIG_MAPS.has(metadata.name ?? '')) {
    delete content.data;
    delete content.binaryData;
  } else if (object.kind === 'Secret' && !KEPT_SECRET_TYPES.has(content.type ?? '')) delete content.data;
}

/** Leaves the metadata alone, for kinds of which only owners and finalizers matter. */
export function stripToMetadata(object: KubeObject): void {
  stripObject(object);
  for (const field of Object.keys(object)) {
    if (field !== 'metadata' && field !== 'kind' && field !== 'apiVersion') {
      delete (object as Record<string, unknown>)[field];
    }
  }
  if (object.metadata) delete object.metadata.annotations;
}

const KEPT_CONFIG_MAPS: ReadonlySet<string> = new Set(['kube-root-ca.crt', 'cluster-info']);
const KEPT_SECRET_TYPES: ReadonlySet<string> = new Set([
  'bootstrap.kubernetes.io/token',
  'kubernetes.io/service-account-token',
]);
