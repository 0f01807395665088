import type { OwnerReference } from 'kubernetes-types/meta/v1.d.ts';
import type { Change } from '../../api/informer.ts';
import type { Kind, KubeObject } from '../../api/kinds.ts';
import { kindKey } from '../component/view.ts';

/** An object as garbage collection knows it. */
export interface GraphNode {
  readonly kind: Kind<KubeObject>;
  readonly key: string;
  readonly uid: string;
  readonly namespace: string;
}

/** Who owns whom, by uid, over all kinds: fed by changes, asked by the garbage collector. */
export class OwnerGraph {
  readonly #nodes = new Map<string, GraphNode>();
  readonly #dependents = new Map<string, Set<string>>();

  /** Takes a change in; returns the ids of objects to look at because of it. */
  apply(kind: Kind<KubeObject>, change: Change<KubeObject>): string[] {
    const { object, previous, type } = change;
    const uid = object.metadata?.uid ?? '';
    const id = nodeId(kind, change.key);
    // Recreated between two looks: the old one's dependents have lost their owner.
    const replaced = previous?.metadata?.uid !== undefined && previous.metadata.uid !== uid;
    const orphaned = replaced ? this.#remove(previous?.metadata?.uid ?? '', previous) : [];
    for (const { uid: owner } of previous?.metadata?.ownerReferences ?? [])
      this.#dependents.get(owner)?.delete(id);
    if (type === 'DELETED') return [...orphaned, ...this.#remove(uid, object), ...this.#ownersOf(object)];
    this.#nodes.set(uid, { kind, key: change.key, uid, namespace: object.metadata?.namespace ?? '' });
    for (const { uid: owner } of object.metadata?.ownerReferences ?? []) {
      const set = this.#dependents.get(owner);
      if (set) set.add(id);
      else this.#dependents.set(owner, new Set([id]));
    }
    const isFinalizing = object.metadata?.deletionTimestamp !== undefined && hasCollectorFinalizer(object);
    const isOwned = (object.metadata?.ownerReferences?.length ?? 0) > 0;
    const isNews = type === 'ADDED' || !isSameOwnership(object, previous);
    const own = isNews && (isFinalizing || isOwned) ? [id] : [];
    const below = isFinalizing && isNews ? this.dependentsOf(uid) : [];
    return [...orphaned, ...own, ...below];
  }

  find(uid: string): GraphNode | undefined {
    return this.#nodes.get(uid);
  }

  /** Ids of the objects that name this uid among their owners. */
  dependentsOf(uid: string): string[] {
    return [...(this.#dependents.get(uid) ?? [])];
  }

  #remove(uid: string, object: KubeObject | undefined): string[] {
    this.#nodes.delete(uid);
    for (const { uid: owner } of object?.metadata?.ownerReferences ?? []) {
      if (this.#dependents.get(owner)?.size === 0) this.#dependents.delete(owner);
    }
    return this.dependentsOf(uid);
  }

  /** Owners that wait for their dependents to go. */
  #ownersOf(object: KubeObject): string[] {
    return (object.metadata?.ownerReferences ?? []).flatMap(({ uid }) => {
      const owner = this.#nodes.get(uid);
      return owner ? [nodeId(owner.kind, owner.key)] : [];
    });
  }
}

/** "group/plural namespace/name": one object over all kinds. */
function nodeId(kind: Kind<KubeObject>, key: string): string {
  return `${kindKey(kind)} ${key}`;
}

export function hasCollectorFinalizer(object: KubeObject): boolean {
  const finalizers = object.metadata?.finalizers ?? [];
  return finalizers.includes('foregroundDeletion') || finalizers.includes('orphan');
}

function isSameOwnership(object: KubeObject, previous: KubeObject | undefined): boolean {
  const facts = ({ metadata }: KubeObject) =>
    JSON.stringify([
      metadata?.uid,
      metadata?.deletionTimestamp,
      metadata?.finalizers,
      metadata?.ownerReferences?.map((reference: OwnerReference) => [
        reference.uid,
        reference.blockOwnerDeletion,
      ]),
    ]);
  return previous !== undefined && facts(object) === facts(previous);
}
