import type { ReplicaSet, ReplicaSetStatus } from 'kubernetes-types/apps/v1.d.ts';
import type { Pod, PodTemplateSpec } from 'kubernetes-types/core/v1.d.ts';
import type { LabelSelector } from 'kubernetes-types/meta/v1.d.ts';
import { isApiError } from '../../api/api-error.ts';
import { type Kind, type KubeObject, PODS, REPLICA_SETS } from '../../api/kinds.ts';
import { matchesLabelSelector, matchesLabels } from '../../api/label-selectors.ts';
import { formatTime } from '../../api/time.ts';
import { type Action, create, event, parallel, remove, updateStatus } from '../component/action.ts';
import {
  buildControllerReference,
  controllerOf,
  isPodActive,
  isPodAvailable,
  isPodReady,
  isSameJson,
  podCondition,
  timeMs,
  withCondition,
} from '../component/objects.ts';
import type { View } from '../component/view.ts';
import { claimObjects } from './adoption.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watch,
  watchOwned,
  watchSelf,
} from './controller.ts';
import { buildPodFromTemplate } from './pod-template.ts';

/** At most so many pods are created or deleted for one owner at a time (upstream's BurstReplicas). */
const BURST_REPLICAS = 500;

/** What ReplicaSet and ReplicationController share; `selector` in the form of the former. */
interface Replicated extends KubeObject {
  spec?: { replicas?: number; minReadySeconds?: number; template?: PodTemplateSpec };
  status?: ReplicaSetStatus;
}

/** A kind that keeps a number of equal pods, and how its selector reads. */
export interface ReplicaKind<T extends Replicated> {
  readonly name: string;
  readonly kind: Kind<T>;
  readonly selector: (object: T) => LabelSelector | undefined;
}

/** Keeps `spec.replicas` pods of each ReplicaSet. */
export function createReplicaSetController(): Controller {
  return createReplicaController<ReplicaSet>({
    name: 'replicaset-controller',
    kind: REPLICA_SETS,
    selector: (replicaSet) => replicaSet.spec?.selector,
  });
}

/** Keeps the pods of any kind that has replicas, selector and template. */
export function createReplicaController<T extends Replicated>(replicaKind: ReplicaKind<T>): Controller {
  return {
    name: replicaKind.name,
    watches: [
      watchSelf(replicaKind.kind),
      watchOwned(PODS, replicaKind.kind.kind),
      watch(PODS, (change, view) => orphanOwners(replicaKind, change.object, view)),
    ],
    workers: 16,
    reconcile: (key, context) => reconcileReplicas(replicaKind, key, context),
    failed: (key, error, { view, now }) => {
      const owner = view.get(replicaKind.kind, key);
      const isKnown = owner?.status?.conditions?.some((condition) => condition.type === 'ReplicaFailure');
      if (!owner || isKnown || !isApiError(error, 'Forbidden')) return [];
      const message = error.status.message ?? error.message;
      return [updateStatus(replicaKind.kind, withReplicaFailure(owner, message, now))];
    },
  };
}

function orphanOwners<T extends Replicated>(replicaKind: ReplicaKind<T>, pod: Pod, view: View): string[] {
  if (controllerOf(pod) || !isPodActive(pod)) return [];
  const { namespace = '', labels } = pod.metadata ?? {};
  return view
    .inNamespace(replicaKind.kind, namespace)
    .filter((owner) => matchesLabelSelector(replicaKind.selector(owner), labels))
    .map((owner) => `${namespace}/${owner.metadata?.name}`);
}

function reconcileReplicas<T extends Replicated>(
  replicaKind: ReplicaKind<T>,
  key: string,
  { view, now }: ReconcileContext,
): ReconcileResult {
  const owner = view.get(replicaKind.kind, key);
  if (!owner) return SETTLED;
  const { kind } = replicaKind;
  const claim = claimObjects(view, {
    ownerKind: kind,
    owner,
    kind: PODS,
    selector: replicaKind.selector(owner),
    canAdopt: isPodActive,
  });
  const pods = claim.owned.filter(isPodActive);
  const isDeleted = owner.metadata?.deletionTimestamp !== undefined;
  const changes = isDeleted ? [] : planReplicas(kind, owner, pods, view);
  const status = buildStatus(owner, pods, now);
  const statusActions = isSameJson(status, owner.status)
    ? []
    : [updateStatus(kind, { ...owner, status } as T)];
  const minReadySeconds = owner.spec?.minReadySeconds ?? 0;
  return {
    actions: [...claim.actions, ...changes, ...statusActions],
    requeueAfterMs: nextAvailabilityMs(pods, minReadySeconds, now),
  };
}

/** Creates what is missing or deletes what is too much. */
function planReplicas<T extends Replicated>(
  kind: Kind<T>,
  owner: T,
  pods: readonly Pod[],
  view: View,
): Action[] {
  const difference = (owner.spec?.replicas ?? 1) - pods.length;
  if (difference > 0) {
    const count = Math.min(difference, BURST_REPLICAS);
    const creations = Array.from({ length: count }, () => createPod(kind, owner));
    return parallel(creations, { slowStart: true });
  }
  const victims = rankForDeletion(pods, view).slice(0, Math.min(-difference, BURST_REPLICAS));
  return parallel(
    victims.map((pod) => ({
      verb: 'parallel' as const,
      actions: [
        remove(PODS, pod),
        event(kind, owner, 'Normal', 'SuccessfulDelete', `Deleted pod: ${pod.metadata?.name}`),
      ],
    })),
  );
}

function createPod<T extends Replicated>(kind: Kind<T>, owner: T): Action {
  const pod = buildPodFromTemplate(owner.spec?.template, owner, buildControllerReference(kind, owner));
  return create(PODS, pod, { announce: { kind, owner } });
}

/**
 * Pods in the order in which they are given up, as upstream's ActivePodsWithRanks: not bound, pending,
 * not ready, low deletion cost, many of the same owner on the node, ready for a shorter time, restarted
 * more often, younger.
 */
function rankForDeletion(pods: readonly Pod[], view: View): Pod[] {
  const perNode = new Map<string, number>();
  for (const pod of pods) {
    const node = pod.spec?.nodeName;
    if (node && !perNode.has(node)) perNode.set(node, relatedOnNode(pod, view));
  }
  const phases = ['Pending', 'Unknown', 'Running'];
  const rows: readonly ((pod: Pod) => number)[] = [
    (pod) => (pod.spec?.nodeName ? 1 : 0),
    (pod) => phases.indexOf(pod.status?.phase ?? 'Pending'),
    (pod) => (isPodReady(pod) ? 1 : 0),
    (pod) => Number(pod.metadata?.annotations?.['controller.kubernetes.io/pod-deletion-cost'] ?? 0),
    (pod) => -(perNode.get(pod.spec?.nodeName ?? '') ?? 0),
    (pod) => -timeMs(podCondition(pod, 'Ready')?.lastTransitionTime),
    (pod) => -Math.max(0, ...(pod.status?.containerStatuses ?? []).map((status) => status.restartCount)),
    (pod) => -timeMs(pod.metadata?.creationTimestamp),
  ];
  const ranked = pods.map((pod) => ({ pod, rank: rows.map((row) => row(pod)) }));
  ranked.sort((left, right) => {
    const index = rows.findIndex((_, row) => left.rank[row] !== right.rank[row]);
    return index < 0 ? 0 : left.rank[index]! - right.rank[index]!;
  });
  return ranked.map(({ pod }) => pod);
}

/** Active pods on the pod's node whose owner belongs to the same owner (old and new ReplicaSets count together). */
function relatedOnNode(pod: Pod, view: View): number {
  const owner = controllerOf(pod);
  const replicaSet = owner && view.get(REPLICA_SETS, `${pod.metadata?.namespace}/${owner.name}`);
  const group = controllerOf(replicaSet)?.uid;
  const owners = new Set(
    group ? view.controlledBy(REPLICA_SETS, group).map((entry) => entry.metadata?.uid) : [owner?.uid],
  );
  return view
    .podsOnNode(pod.spec?.nodeName ?? '')
    .filter((other) => isPodActive(other) && owners.has(controllerOf(other)?.uid)).length;
}

function buildStatus(owner: Replicated, pods: readonly Pod[], now: Date): ReplicaSetStatus {
  const minReadySeconds = owner.spec?.minReadySeconds ?? 0;
  const templateLabels = owner.spec?.template?.metadata?.labels;
  const conditions = owner.status?.conditions?.filter((condition) => condition.type !== 'ReplicaFailure');
  return {
    ...owner.status,
    replicas: pods.length,
    fullyLabeledReplicas: pods.filter((pod) => matchesLabels(templateLabels, pod.metadata?.labels)).length,
    readyReplicas: pods.filter(isPodReady).length,
    availableReplicas: pods.filter((pod) => isPodAvailable(pod, minReadySeconds, now)).length,
    observedGeneration: owner.metadata?.generation ?? 0,
    ...(conditions ? { conditions } : {}),
  };
}

/** The object with the condition ReplicaFailure, after the API server refused a creation or deletion. */
function withReplicaFailure<T extends Replicated>(owner: T, message: string, now: Date): T {
  const conditions = withCondition(
    owner.status?.conditions,
    { type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message },
    now,
  );
  return { ...owner, status: { replicas: 0, ...owner.status, conditions } };
}

/** When the next pod that is ready becomes available; undefined when none is waiting. */
export function nextAvailabilityMs(
  pods: readonly Pod[],
  minReadySeconds: number,
  now: Date,
): number | undefined {
  if (minReadySeconds === 0) return undefined;
  const waits = pods
    .filter((pod) => isPodReady(pod) && !isPodAvailable(pod, minReadySeconds, now))
    .map((pod) => {
      const since = timeMs(podCondition(pod, 'Ready')?.lastTransitionTime ?? formatTime(now));
      return since + minReadySeconds * 1000 - now.getTime();
    });
  return waits.length === 0 ? undefined : Math.max(1, Math.min(...waits));
}
