import type { OwnerReference } from 'kubernetes-types/meta/v1.d.ts';
import type { ApiClient } from '../../api/client.ts';
import type { Kind, KubeObject } from '../../api/kinds.ts';
import { findResourceByKind, RESOURCES } from '../../api/resources.ts';
import { type Action, mergePatch, parallel, remove } from '../component/action.ts';
import { kindKey, type View } from '../component/view.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  type WatchRow,
} from './controller.ts';
import { type GraphNode, hasCollectorFinalizer, OwnerGraph } from './owner-graph.ts';

/** Kinds whose objects nobody owns and that come in masses, as upstream leaves them out. */
const IGNORED: ReadonlySet<string> = new Set(['/events', 'events.k8s.io/events']);
const MAX_ABSENT_OWNERS = 500;

/** The built-in kinds that can have owners: all that can be deleted and watched. */
const COLLECTED_KINDS: readonly Kind<KubeObject>[] = RESOURCES.filter(
  (row) =>
    row.verbs.includes('delete') &&
    row.verbs.includes('list') &&
    row.verbs.includes('watch') &&
    !IGNORED.has(kindKey(row)),
);

/** Deletes objects whose owners are gone; carries out foreground deletion and orphaning. */
export function createGarbageCollector(kinds: readonly Kind<KubeObject>[] = COLLECTED_KINDS): Controller {
  const graph = new OwnerGraph();
  const byId = new Map(kinds.map((kind) => [kindKey(kind), kind]));
  const absent = new Set<string>();
  const rows: WatchRow[] = kinds.map((kind) => ({
    kind,
    metadataOnly: true,
    keys: (change) => graph.apply(kind, change),
  }));
  return {
    name: 'garbage-collector-controller',
    watches: rows,
    workers: 20,
    async reconcile(id, context): Promise<ReconcileResult> {
      const [collection = '', key = ''] = id.split(' ');
      const kind = byId.get(collection);
      const object = kind && context.view.get(kind, key);
      if (!kind || !object) return SETTLED;
      const collector: Collector = { ...context, graph, byId, absent };
      if (object.metadata?.deletionTimestamp) return reconcileFinalizers(kind, object, collector);
      return reconcileOwners(kind, object, collector);
    },
  };
}

interface Collector extends ReconcileContext {
  readonly graph: OwnerGraph;
  readonly byId: ReadonlyMap<string, Kind<KubeObject>>;
  /** uids of owners that the server no longer has. */
  readonly absent: Set<string>;
}

/** Orphans the dependents, or deletes them first, as the object's finalizers say. */
function reconcileFinalizers(
  kind: Kind<KubeObject>,
  object: KubeObject,
  collector: Collector,
): ReconcileResult {
  if (!hasCollectorFinalizer(object)) return SETTLED;
  const uid = object.metadata?.uid ?? '';
  const dependents = findDependents(uid, collector);
  const finalizers = object.metadata?.finalizers ?? [];
  if (finalizers.includes('orphan')) {
    const releases = dependents.map(({ kind: dependentKind, object: dependent }) =>
      patchOwners(dependentKind, dependent, (reference) => reference.uid !== uid),
    );
    return { actions: [...parallel(releases), dropFinalizer(kind, object, 'orphan')] };
  }
  const blocking = dependents.filter(({ object: dependent }) =>
    dependent.metadata?.ownerReferences?.some((entry) => entry.uid === uid && entry.blockOwnerDeletion),
  );
  if (blocking.length > 0) return SETTLED;
  return { actions: [dropFinalizer(kind, object, 'foregroundDeletion')] };
}

interface Dependent {
  readonly kind: Kind<KubeObject>;
  readonly object: KubeObject;
}

function findDependents(uid: string, { graph, byId, view }: Collector): Dependent[] {
  return graph.dependentsOf(uid).flatMap((id) => {
    const [collection = '', key = ''] = id.split(' ');
    const kind = byId.get(collection);
    const object = kind && view.get(kind, key);
    return object ? [{ kind, object }] : [];
  });
}

/** Deletes the object when no owner is left, or drops the owners that are gone. */
async function reconcileOwners(
  kind: Kind<KubeObject>,
  object: KubeObject,
  collector: Collector,
): Promise<ReconcileResult> {
  const references = object.metadata?.ownerReferences ?? [];
  if (references.length === 0) return SETTLED;
  const states = await Promise.all(references.map((reference) => observeOwner(object, reference, collector)));
  const dangling = references.filter((_, index) => states[index] === 'absent');
  const waiting = references.filter((_, index) => states[index] === 'waiting');
  if (states.includes('present')) {
    const gone = new Set([...dangling, ...waiting].map((reference) => reference.uid));
    return gone.size === 0
      ? SETTLED
      : { actions: [patchOwners(kind, object, (reference) => !gone.has(reference.uid))] };
  }
  const hasDependents = collector.graph.dependentsOf(object.metadata?.uid ?? '').length > 0;
  return {
    actions: [remove(kind, object, { propagationPolicy: policyFor(object, waiting, hasDependents) })],
  };
}

function policyFor(
  object: KubeObject,
  waiting: readonly OwnerReference[],
  hasDependents: boolean,
): 'Orphan' | 'Foreground' | 'Background' {
  const finalizers = object.metadata?.finalizers ?? [];
  if (finalizers.includes('orphan')) return 'Orphan';
  if (finalizers.includes('foregroundDeletion')) return 'Foreground';
  return waiting.length > 0 && hasDependents ? 'Foreground' : 'Background';
}

/** "waiting": it is being deleted in the foreground, and waits for this dependent. */
async function observeOwner(
  dependent: KubeObject,
  reference: OwnerReference,
  collector: Collector,
): Promise<'present' | 'absent' | 'waiting'> {
  const { graph, view, absent, api } = collector;
  const known = graph.find(reference.uid);
  const namespace = dependent.metadata?.namespace ?? '';
  if (known) return isWaiting(known, view) ? 'waiting' : 'present';
  if (absent.has(reference.uid)) return 'absent';
  const kind = kindOfReference(reference, collector);
  // Of a kind that nobody can ask for nothing is known: leave its dependents alone.
  if (!kind) return 'present';
  const owner = await readOwner(api, kind, reference.name, kind.namespaced ? namespace : undefined);
  if (owner?.metadata?.uid === reference.uid) return 'present';
  absent.add(reference.uid);
  if (absent.size > MAX_ABSENT_OWNERS) absent.delete(absent.values().next().value!);
  return 'absent';
}

function isWaiting(node: GraphNode, view: View): boolean {
  const metadata = view.get(node.kind, node.key)?.metadata;
  return (
    metadata?.deletionTimestamp !== undefined && (metadata.finalizers ?? []).includes('foregroundDeletion')
  );
}

function kindOfReference(
  { apiVersion, kind }: OwnerReference,
  { byId }: Collector,
): Kind<KubeObject> | undefined {
  const builtIn = findResourceByKind(apiVersion, kind);
  if (builtIn) return builtIn;
  const group = apiVersion.split('/')[0];
  return [...byId.values()].find((row) => row.kind === kind && row.group === group);
}

function readOwner(
  api: ApiClient,
  kind: Kind<KubeObject>,
  name: string,
  namespace: string | undefined,
): Promise<KubeObject | undefined> {
  return api.find(kind, { name, namespace });
}

function patchOwners(
  kind: Kind<KubeObject>,
  object: KubeObject,
  isKept: (reference: OwnerReference) => boolean,
): Action {
  const ownerReferences = (object.metadata?.ownerReferences ?? []).filter(isKept);
  return mergePatch(kind, object, { metadata: { uid: object.metadata?.uid, ownerReferences } });
}

function dropFinalizer(kind: Kind<KubeObject>, object: KubeObject, name: string): Action {
  const { resourceVersion, finalizers = [] } = object.metadata ?? {};
  return mergePatch(kind, object, {
    metadata: { resourceVersion, finalizers: finalizers.filter((entry) => entry !== name) },
  });
}
