import type { Namespace, NamespaceCondition } from 'kubernetes-types/core/v1.d.ts';
import { isApiError } from '../../api/api-error.ts';
import type { ApiClient } from '../../api/client.ts';
import { type Kind, type KubeObject, NAMESPACES, PODS } from '../../api/kinds.ts';
import type { ObjectList } from '../../api/requests.ts';
import { formatCollectionPath, RESOURCES } from '../../api/resources.ts';
import { formatError } from '../../base/errors.ts';
import { type Action, updateStatus } from '../component/action.ts';
import { isSameJson, withCondition } from '../component/objects.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watch,
  watchSelf,
} from './controller.ts';
import { loadCustomKinds } from './custom-kinds.ts';

const FINALIZER = 'kubernetes';
const RECHECK_MS = 1_000;

/** Empties namespaces that are being deleted, then lets them go. */
export function createNamespaceController(): Controller {
  return {
    name: 'namespace-controller',
    watches: [
      watchSelf(NAMESPACES),
      // The last pod is what a namespace usually waits for.
      watch(PODS, ({ type, object }, view) => {
        const namespace = object.metadata?.namespace ?? '';
        const isLast = type === 'DELETED' && view.inNamespace(PODS, namespace).length === 0;
        return isLast && view.get(NAMESPACES, namespace)?.metadata?.deletionTimestamp ? [namespace] : [];
      }),
    ],
    workers: 10,
    reconcile: reconcileNamespace,
  };
}

async function reconcileNamespace(
  name: string,
  { view, api, now }: ReconcileContext,
): Promise<ReconcileResult> {
  const namespace = view.get(NAMESPACES, name);
  if (!namespace?.metadata?.deletionTimestamp) return SETTLED;
  if (!namespace.spec?.finalizers?.includes(FINALIZER)) return SETTLED;
  const kinds = await listNamespacedKinds(api);
  const results = await Promise.all(kinds.map((kind) => emptyCollection(api, kind, name)));
  const remains = results.filter((result) => result.remaining > 0 || result.error !== undefined);
  if (remains.length === 0) return { actions: [finalize(namespace)] };
  const conditions = buildConditions(namespace, remains, now);
  const status = { ...namespace.status, phase: 'Terminating', conditions };
  const actions: Action[] = isSameJson(status, namespace.status)
    ? []
    : [updateStatus(NAMESPACES, { ...namespace, status })];
  return { actions, requeueAfterMs: RECHECK_MS };
}

async function listNamespacedKinds(api: ApiClient): Promise<Kind<KubeObject>[]> {
  const builtIn = RESOURCES.filter((row) => row.namespaced && row.verbs.includes('deletecollection'));
  const custom = await loadCustomKinds(api);
  const isTwin = (row: Kind<KubeObject>) => row.group === 'events.k8s.io';
  return [...builtIn, ...custom.filter((row) => row.namespaced)].filter((row) => !isTwin(row));
}

interface Emptied {
  readonly kind: Kind<KubeObject>;
  readonly remaining: number;
  readonly finalizers: readonly string[];
  readonly error?: string;
}

/** Deletes what the collection holds in the namespace; tells what is still there afterwards. */
async function emptyCollection(api: ApiClient, kind: Kind<KubeObject>, namespace: string): Promise<Emptied> {
  try {
    const before = await listAll(api, kind, namespace);
    if (before.length === 0) return { kind, remaining: 0, finalizers: [] };
    await api.requestJson('DELETE', formatCollectionPath(kind, namespace), {
      body: { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background' },
    });
    const after = await listAll(api, kind, namespace);
    return {
      kind,
      remaining: after.length,
      finalizers: after.flatMap((object) => object.metadata?.finalizers ?? []),
    };
  } catch (error) {
    if (isApiError(error, 'NotFound') || isApiError(error, 'MethodNotAllowed')) {
      return { kind, remaining: 0, finalizers: [] };
    }
    return { kind, remaining: 0, finalizers: [], error: formatError(error) };
  }
}

async function listAll(
  api: ApiClient,
  kind: Kind<KubeObject>,
  namespace: string,
): Promise<readonly KubeObject[]> {
  const list = await api.requestJson<ObjectList<KubeObject>>('GET', formatCollectionPath(kind, namespace), {
    headers: {
      accept: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json',
    },
  });
  return list.items;
}

function finalize(namespace: Namespace): Action {
  const finalizers = namespace.spec?.finalizers?.filter((name) => name !== FINALIZER) ?? [];
  const object = { ...namespace, spec: { ...namespace.spec, finalizers } };
  return { verb: 'update', kind: NAMESPACES, object, subresource: 'finalize' };
}

function buildConditions(namespace: Namespace, remains: readonly Emptied[], now: Date): NamespaceCondition[] {
  const errors = remains.flatMap(({ error }) => error ?? []);
  const left = remains.filter(({ remaining }) => remaining > 0);
  const finalizers = new Map<string, number>();
  for (const name of left.flatMap((result) => result.finalizers)) {
    finalizers.set(name, (finalizers.get(name) ?? 0) + 1);
  }
  const rows = [
    row(
      'NamespaceDeletionDiscoveryFailure',
      '',
      'ResourcesDiscovered',
      'All resources successfully discovered',
    ),
    row(
      'NamespaceDeletionGroupVersionParsingFailure',
      '',
      'ParsedGroupVersions',
      'All legacy kube types successfully parsed',
    ),
    row(
      'NamespaceDeletionContentFailure',
      errors.length > 0
        ? `Failed to delete all resource types, ${errors.length} remaining: ${errors.join(', ')}`
        : '',
      errors.length > 0 ? 'ContentDeletionFailed' : 'ContentDeleted',
      'All content successfully deleted, may be waiting on finalization',
    ),
    row(
      'NamespaceContentRemaining',
      left.length > 0
        ? `Some resources are remaining: ${left.map(({ kind, remaining }) => `${kind.plural}.${kind.group} has ${remaining} resource instances`).join(', ')}`
        : '',
      left.length > 0 ? 'SomeResourcesRemain' : 'ContentRemoved',
      'All content successfully removed',
    ),
    row(
      'NamespaceFinalizersRemaining',
      finalizers.size > 0
        ? `Some content in the namespace has finalizers remaining: ${[...finalizers].map(([name, count]) => `${name} in ${count} resource instances`).join(', ')}`
        : '',
      finalizers.size > 0 ? 'SomeFinalizersRemain' : 'ContentHasNoFinalizers',
      'All content-preserving finalizers finished',
    ),
  ];
  return rows.reduce<NamespaceCondition[]>(
    (conditions, next) => withCondition(conditions, next, now),
    namespace.status?.conditions ?? [],
  );
}

function row(type: string, problem: string, reason: string, fine: string) {
  return {
    type,
    status: problem === '' ? 'False' : 'True',
    reason,
    message: problem === '' ? fine : problem,
  };
}
