import { type Kind, type KubeObject, RESOURCE_QUOTAS } from '../../api/kinds.ts';
import type { ResourceRow } from '../../api/resources.ts';
import type { Logger } from '../../base/log.ts';
import { sleep } from '../../base/time.ts';
import { formatKeyPrefix, formatResource, KEY_PREFIX } from './keys.ts';
import { formatStoredObject } from './object-bytes.ts';
import type { ObjectReader } from './reader.ts';
import { type ChangeType, ResourceState, type StateEvent } from './resource-state.ts';
import { isSharedStore, type Store, type StoreEvent, type WriteResult } from './types.ts';

/** How many changes are remembered; those that only tell that somebody is alive need little history. */
const EVENT_LIMITS: Readonly<Record<string, { readonly maxEvents: number; readonly maxEventBytes: number }>> =
  {
    'leases.coordination.k8s.io': { maxEvents: 200, maxEventBytes: 256 * 1024 },
    events: { maxEvents: 1000, maxEventBytes: 1024 * 1024 },
  };
const DEFAULT_LIMIT = { maxEvents: 4000, maxEventBytes: 6 * 1024 * 1024 };
const LOAD_PAGE = 2000;
/** Resources whose objects take addresses and ports out of one pool. */
const ALLOCATING: readonly string[] = ['services'];

export interface ClusterStateOptions {
  readonly store: Store;
  /** The rows that have objects of their own. */
  readonly rows: readonly ResourceRow[];
  readonly now: () => number;
  readonly logger: Logger;
}

/** Where an object is: of a stored row, with its namespace ("" when the row has none). */
export interface ObjectLocation {
  readonly row: ResourceRow;
  readonly namespace: string;
  readonly name: string;
}

/** Every object of the cluster in memory, kept right by a watch of the store, and writes through it. */
export class ClusterState implements ObjectReader {
  readonly #store: Store;
  readonly #now: () => number;
  readonly #byResource = new Map<string, ResourceState>();
  readonly #byDirectory = new Map<string, ResourceState>();
  readonly #logger: Logger;
  #revision = 0;
  #stop: (() => void) | undefined;

  private constructor(options: ClusterStateOptions) {
    this.#store = options.store;
    this.#now = options.now;
    this.#logger = options.logger;
    for (const row of options.rows) this.addResource(row);
  }

  /** Reads the whole store and follows it. */
  static async load(options: ClusterStateOptions): Promise<ClusterState> {
    const state = new ClusterState(options);
    await state.#load();
    return state;
  }

  /** The newest revision that this memory holds. */
  get revision(): number {
    return this.#revision;
  }

  /** True once this memory holds a revision; false when it does not within the time. */
  async reached(revision: number, timeoutMs: number): Promise<boolean> {
    const deadline = this.#now() + timeoutMs;
    while (this.#revision < revision && this.#now() < deadline) await sleep(50);
    return this.#revision >= revision;
  }

  get store(): Store {
    return this.#store;
  }

  resources(): Iterable<ResourceState> {
    return this.#byResource.values();
  }

  /** Makes room for the objects of a row. */
  addResource(row: ResourceRow): ResourceState {
    const name = formatResource(row);
    const known = this.#byResource.get(name);
    if (known) return known;
    const resource = new ResourceState({ row, ...(EVENT_LIMITS[name] ?? DEFAULT_LIMIT) });
    resource.startAt(this.#revision);
    this.#byResource.set(name, resource);
    this.#byDirectory.set(formatKeyPrefix(row), resource);
    return resource;
  }

  resource(row: Pick<ResourceRow, 'group' | 'plural'>): ResourceState {
    const found = this.#byResource.get(formatResource(row));
    if (!found) throw new Error(`${formatResource(row)} is not stored`);
    return found;
  }

  get<T extends KubeObject>(kind: Kind<T>, name: string, namespace = ''): T | undefined {
    return this.resource(kind).get(formatId(namespace, name))?.object as T | undefined;
  }

  list<T extends KubeObject>(kind: Kind<T>, namespace = ''): readonly T[] {
    return this.resource(kind)
      .list(namespace)
      .map((object) => object.object as T);
  }

  subscribe<T extends KubeObject>(
    kind: Kind<T>,
    onChange: (object: T, type: ChangeType) => void,
  ): () => void {
    return this.resource(kind).listen((events) => {
      for (const event of events) onChange(event.object.object as T, event.type);
    });
  }

  /**
   * The keys among which nobody else may write while an object is made, because the object takes from what they
   * share: addresses of Services, a namespace's quota. undefined: none, or this server is the only one.
   */
  sharedKeys({ row, namespace }: Pick<ObjectLocation, 'row' | 'namespace'>): string | undefined {
    if (!isSharedStore(this.#store)) return undefined;
    if (ALLOCATING.includes(formatResource(row))) return formatKeyPrefix(row);
    const hasQuota = row.namespaced && this.resource(RESOURCE_QUOTAS).list(namespace).length > 0;
    return hasQuota && namespace !== '' ? `${formatKeyPrefix(row)}${namespace}/` : undefined;
  }

  /**
   * Writes an object if the stored one has this revision (0: is absent); with `since`, the revision that the object
   * was made at, only when none of its shared keys was written behind it.
   */
  put(location: ObjectLocation, object: KubeObject, expected: number, since?: number): Promise<WriteResult> {
    const [key, value, store] = [formatKey(location), formatStoredObject(object), this.#store];
    const prefix = since === undefined ? undefined : this.sharedKeys(location);
    if (since === undefined || prefix === undefined || !isSharedStore(store)) {
      return store.put(key, value, expected);
    }
    return store.putIfQuiet(key, value, expected, { prefix, revision: since });
  }

  delete(location: ObjectLocation, expected: number): Promise<WriteResult> {
    return this.#store.delete(formatKey(location), expected);
  }

  /** Forgets changes older than this. */
  forgetBefore(atMs: number): void {
    for (const resource of this.#byResource.values()) resource.forgetBefore(atMs);
  }

  stop(): void {
    this.#stop?.();
  }

  async #load(): Promise<void> {
    let after = '';
    let revision: number | undefined;
    for (;;) {
      const page = await this.#store.range(KEY_PREFIX, {
        limit: LOAD_PAGE,
        after,
        ...(revision ? { revision } : {}),
      });
      revision = page.revision;
      for (const stored of page.values) {
        const found = this.#find(stored.key);
        found?.resource.load(found.id, stored);
      }
      after = page.values.at(-1)?.key ?? after;
      if (!page.hasMore) break;
    }
    this.#revision = revision;
    for (const resource of this.#byResource.values()) resource.startAt(revision);
    this.#stop = this.#store.watch(KEY_PREFIX, revision, (events) => this.#apply(events));
  }

  #apply(events: readonly StoreEvent[]): void {
    const atMs = this.#now();
    const changed = new Map<ResourceState, StateEvent[]>();
    for (const { key, value, revision } of events) {
      this.#revision = revision;
      const found = this.#find(key);
      const event = found?.resource.apply(found.id, value, revision, atMs);
      if (!found || !event) continue;
      const list = changed.get(found.resource);
      if (list) list.push(event);
      else changed.set(found.resource, [event]);
    }
    for (const [resource, list] of changed) resource.publish(list, (error) => this.#report(error));
  }

  // One reader that fails must not keep a committed change from the others, nor from whoever wrote it.
  #report(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#logger.error('a reader of changes failed', { error: text });
  }

  #find(key: string): { readonly resource: ResourceState; readonly id: string } | undefined {
    // The directory is all but the last one or two parts, which depends on the resource.
    for (let end = key.indexOf('/', KEY_PREFIX.length); end >= 0; end = key.indexOf('/', end + 1)) {
      const resource = this.#byDirectory.get(key.slice(0, end + 1));
      if (resource) return { resource, id: key.slice(end + 1) };
    }
    return undefined;
  }
}

/** "NS/NAME", or "NAME" without a namespace. */
export function formatId(namespace: string, name: string): string {
  return namespace === '' ? name : `${namespace}/${name}`;
}

function formatKey(location: ObjectLocation): string {
  return `${formatKeyPrefix(location.row)}${formatId(location.namespace, location.name)}`;
}
