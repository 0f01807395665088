import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { objectKey } from '../../api/informer.ts';
import { type Kind, type KubeObject, PODS } from '../../api/kinds.ts';

/** What a reconcile may read: the local copies of collections. Objects are shared: do not change them. */
export interface View {
  /** By "namespace/name" or "name". */
  get<T extends KubeObject>(kind: Kind<T>, key: string): T | undefined;
  list<T extends KubeObject>(kind: Kind<T>): readonly T[];
  inNamespace<T extends KubeObject>(kind: Kind<T>, namespace: string): readonly T[];
  /** Objects whose controller ownerReference has this uid. */
  controlledBy<T extends KubeObject>(kind: Kind<T>, uid: string): readonly T[];
  /** Objects of the namespace that no controller owns. */
  orphans<T extends KubeObject>(kind: Kind<T>, namespace: string): readonly T[];
  /** Pods bound to this node. */
  podsOnNode(nodeName: string): readonly Pod[];
}

/** "group/plural": identifies a collection. */
export function kindKey(kind: Kind<KubeObject>): string {
  return `${kind.group}/${kind.plural}`;
}

/** Objects of one kind with the indexes that `View` needs. */
export class ObjectStore<T extends KubeObject> {
  readonly #objects = new Map<string, T>();
  readonly #index = new Map<string, Set<string>>();
  readonly #indexValues: (object: T) => readonly string[];

  constructor(kind: Kind<T>) {
    const isPod = kindKey(kind) === kindKey(PODS);
    this.#indexValues = isPod ? (object) => [...commonIndex(object), nodeIndex(object as Pod)] : commonIndex;
  }

  get size(): number {
    return this.#objects.size;
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): T[] {
    return [...this.#objects.values()];
  }

  select(indexValue: string): T[] {
    const found: T[] = [];
    for (const key of this.#index.get(indexValue) ?? []) found.push(this.#objects.get(key)!);
    return found;
  }

  set(object: T): void {
    const key = objectKey(object);
    const previous = this.#objects.get(key);
    if (previous) this.#unindex(key, previous);
    this.#objects.set(key, object);
    for (const value of this.#indexValues(object)) {
      const keys = this.#index.get(value);
      if (keys) keys.add(key);
      else this.#index.set(value, new Set([key]));
    }
  }

  delete(key: string): void {
    const previous = this.#objects.get(key);
    if (!previous) return;
    this.#unindex(key, previous);
    this.#objects.delete(key);
  }

  #unindex(key: string, object: T): void {
    for (const value of this.#indexValues(object)) {
      const keys = this.#index.get(value);
      keys?.delete(key);
      if (keys?.size === 0) this.#index.delete(value);
    }
  }
}

/** A View over stores by kind; kinds without a store are empty. */
export class StoreView implements View {
  readonly #stores: ReadonlyMap<string, ObjectStore<KubeObject>>;

  constructor(stores: ReadonlyMap<string, ObjectStore<KubeObject>>) {
    this.#stores = stores;
  }

  get<T extends KubeObject>(kind: Kind<T>, key: string): T | undefined {
    return this.#store(kind)?.get(key);
  }

  list<T extends KubeObject>(kind: Kind<T>): readonly T[] {
    return this.#store(kind)?.list() ?? [];
  }

  inNamespace<T extends KubeObject>(kind: Kind<T>, namespace: string): readonly T[] {
    return this.#store(kind)?.select(`namespace ${namespace}`) ?? [];
  }

  controlledBy<T extends KubeObject>(kind: Kind<T>, uid: string): readonly T[] {
    return this.#store(kind)?.select(`controller ${uid}`) ?? [];
  }

  orphans<T extends KubeObject>(kind: Kind<T>, namespace: string): readonly T[] {
    return this.#store(kind)?.select(`orphan ${namespace}`) ?? [];
  }

  podsOnNode(nodeName: string): readonly Pod[] {
    return this.#store(PODS)?.select(`node ${nodeName}`) ?? [];
  }

  #store<T extends KubeObject>(kind: Kind<T>): ObjectStore<T> | undefined {
    return this.#stores.get(kindKey(kind)) as ObjectStore<T> | undefined;
  }
}

function commonIndex(object: KubeObject): readonly string[] {
  const { namespace, ownerReferences } = object.metadata ?? {};
  const controller = ownerReferences?.find((reference) => reference.controller);
  const owner = controller ? `controller ${controller.uid}` : `orphan ${namespace ?? ''}`;
  return namespace ? [`namespace ${namespace}`, owner] : [owner];
}

function nodeIndex(pod: Pod): string {
  return `node ${pod.spec?.nodeName ?? ''}`;
}
