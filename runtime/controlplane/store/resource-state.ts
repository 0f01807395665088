import type { KubeObject } from '../../api/kinds.ts';
import type { ResourceRow } from '../../api/resources.ts';
import { insertRevision, replaceRevision } from './object-bytes.ts';
import type { StoredValue } from './types.ts';

export type ChangeType = 'ADDED' | 'MODIFIED' | 'DELETED';

/** An object in memory: its JSON as clients get it, parsed only when somebody looks inside. */
export class StateObject {
  /** "NS/NAME" or "NAME": the order of lists and what `continue` names. */
  readonly id: string;
  readonly namespace: string;
  readonly bytes: Buffer;
  readonly revision: number;
  #parsed: WeakRef<KubeObject> | undefined;

  constructor(id: string, bytes: Buffer, revision: number) {
    this.id = id;
    const slash = id.indexOf('/');
    this.namespace = slash < 0 ? '' : id.slice(0, slash);
    this.bytes = bytes;
    this.revision = revision;
  }

  /** The parsed object, shared by all readers: it must not be changed. */
  get object(): KubeObject {
    const known = this.#parsed?.deref();
    if (known) return known;
    const parsed = this.parse();
    this.#parsed = new WeakRef(parsed);
    return parsed;
  }

  /** The same state under another revision. */
  at(revision: number): StateObject {
    return new StateObject(this.id, replaceRevision(this.bytes, this.revision, revision), revision);
  }

  /** A copy of the object that the caller may change. */
  parse<T extends KubeObject>(): T {
    return JSON.parse(this.bytes.toString('utf8')) as T;
  }
}

/** One change of a resource; for DELETED `object` is the last state at the revision of the deletion. */
export interface StateEvent {
  readonly type: ChangeType;
  readonly object: StateObject;
  readonly previous: StateObject | undefined;
  readonly revision: number;
  readonly atMs: number;
}

export interface ResourceStateOptions {
  readonly row: ResourceRow;
  readonly maxEvents: number;
  readonly maxEventBytes: number;
}

/** All objects of one resource, in order, and its newest changes. */
export class ResourceState {
  readonly row: ResourceRow;
  readonly #objects = new Map<string, StateObject>();
  readonly #maxEvents: number;
  readonly #maxEventBytes: number;
  #sorted: StateObject[] | undefined;
  readonly #sortedByNamespace = new Map<string, readonly StateObject[]>();
  #events: StateEvent[] = [];
  #eventBytes = 0;
  #oldestRevision = 0;
  readonly #listeners = new Set<(events: readonly StateEvent[]) => void>();

  constructor(options: ResourceStateOptions) {
    this.row = options.row;
    this.#maxEvents = options.maxEvents;
    this.#maxEventBytes = options.maxEventBytes;
  }

  get size(): number {
    return this.#objects.size;
  }

  /** Changes behind this revision are all known; an older one is "too old". */
  get oldestRevision(): number {
    return this.#oldestRevision;
  }

  get(id: string): StateObject | undefined {
    return this.#objects.get(id);
  }

  /** All objects, or those of a namespace, in order of their ids. */
  list(namespace = ''): readonly StateObject[] {
    this.#sorted ??= [...this.#objects.values()].sort(compareIds);
    if (namespace === '') return this.#sorted;
    let found = this.#sortedByNamespace.get(namespace);
    if (!found) {
      found = this.#sorted.filter((object) => object.namespace === namespace);
      this.#sortedByNamespace.set(namespace, found);
    }
    return found;
  }

  /** The objects as they were at a revision, which must not be older than `oldestRevision`. */
  listAt(revision: number, namespace = ''): readonly StateObject[] {
    const undone = this.eventsAfter(revision);
    if (undone.length === 0) return this.list(namespace);
    const objects = new Map(this.#objects);
    for (const event of [...undone].reverse()) {
      if (event.previous) objects.set(event.object.id, event.previous);
      else objects.delete(event.object.id);
    }
    const all = [...objects.values()].sort(compareIds);
    return namespace === '' ? all : all.filter((object) => object.namespace === namespace);
  }

  /** Changes behind a revision, oldest first. */
  eventsAfter(revision: number): readonly StateEvent[] {
    let start = this.#events.length;
    while (start > 0 && this.#events[start - 1]!.revision > revision) start -= 1;
    return start === this.#events.length ? [] : this.#events.slice(start);
  }

  /** Calls back with every batch of changes; returns what ends that. */
  listen(listener: (events: readonly StateEvent[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes in what the store holds at start. */
  load(id: string, stored: StoredValue): void {
    this.#objects.set(
      id,
      new StateObject(id, insertRevision(stored.value, stored.modRevision), stored.modRevision),
    );
  }

  /** Declares everything up to this revision forgotten. */
  startAt(revision: number): void {
    this.#oldestRevision = revision;
  }

  /** Takes in a committed change; `publish` tells the listeners. */
  apply(id: string, value: Buffer | undefined, revision: number, atMs: number): StateEvent | undefined {
    const previous = this.#objects.get(id);
    if (!value && !previous) return undefined;
    const object = value
      ? new StateObject(id, insertRevision(value, revision), revision)
      : previous!.at(revision);
    this.#replace(id, value ? object : undefined);
    const type = !value ? 'DELETED' : previous ? 'MODIFIED' : 'ADDED';
    const event: StateEvent = { type, object, previous, revision, atMs };
    this.#remember(event);
    return event;
  }

  publish(events: readonly StateEvent[], onError: (error: unknown) => void): void {
    for (const listener of this.#listeners) {
      try {
        listener(events);
      } catch (error) {
        onError(error);
      }
    }
  }

  /** Forgets changes made before this time. */
  forgetBefore(atMs: number): void {
    const kept = this.#events.findIndex((event) => event.atMs >= atMs);
    this.#forget(kept < 0 ? this.#events.length : kept);
  }

  #replace(id: string, object: StateObject | undefined): void {
    if (object) this.#objects.set(id, object);
    else this.#objects.delete(id);
    this.#sorted = undefined;
    this.#sortedByNamespace.clear();
  }

  #remember(event: StateEvent): void {
    this.#events.push(event);
    this.#eventBytes += event.object.bytes.length;
    if (this.#events.length <= this.#maxEvents && this.#eventBytes <= this.#maxEventBytes) return;
    this.#forget(Math.max(1, this.#events.length >> 2));
  }

  #forget(count: number): void {
    if (count === 0) return;
    const forgotten = this.#events.splice(0, count);
    for (const event of forgotten) this.#eventBytes -= event.object.bytes.length;
    this.#oldestRevision = Math.max(this.#oldestRevision, forgotten.at(-1)!.revision);
  }
}

function compareIds(a: StateObject, b: StateObject): number {
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
