import type { Deployment, ReplicaSet } from 'kubernetes-types/apps/v1.d.ts';
import { byAge, timeMs } from '../component/objects.ts';
import { DESIRED_REPLICAS, MAX_REPLICAS, revisionOf, rollingUpdateOf } from './deployment-revisions.ts';

/** ReplicaSet → the replicas that it should have; those left out stay. */
export type ScalePlan = ReadonlyMap<ReplicaSet, number>;

const sizeOf = (replicaSet: ReplicaSet): number => replicaSet.spec?.replicas ?? 1;
const sum = (sets: readonly ReplicaSet[], size: (entry: ReplicaSet) => number): number =>
  sets.reduce((total, entry) => total + size(entry), 0);
const availableOf = (replicaSet: ReplicaSet): number => replicaSet.status?.availableReplicas ?? 0;

/** Replicas of the new ReplicaSet: as many as maxSurge lets it have beside the old ones. */
export function planNewReplicas(deployment: Deployment, all: readonly ReplicaSet[], newSize: number): number {
  const wanted = deployment.spec?.replicas ?? 1;
  if (deployment.spec?.strategy?.type === 'Recreate') return wanted;
  if (newSize >= wanted) return wanted;
  const room = wanted + rollingUpdateOf(deployment).maxSurge - sum(all, sizeOf);
  return newSize + Math.max(0, Math.min(room, wanted - newSize));
}

/** How far the old ReplicaSets may shrink without fewer than `replicas - maxUnavailable` being available. */
export function planOldReplicas(
  deployment: Deployment,
  newReplicaSet: ReplicaSet | undefined,
  old: readonly ReplicaSet[],
): ScalePlan {
  const plan = new Map<ReplicaSet, number>();
  if (sum(old, sizeOf) === 0) return plan;
  const minAvailable = (deployment.spec?.replicas ?? 1) - rollingUpdateOf(deployment).maxUnavailable;
  const all = newReplicaSet ? [...old, newReplicaSet] : old;
  const newUnavailable = newReplicaSet ? sizeOf(newReplicaSet) - availableOf(newReplicaSet) : 0;
  const maxScaledDown = sum(all, sizeOf) - minAvailable - newUnavailable;
  if (maxScaledDown <= 0) return plan;
  const size = (entry: ReplicaSet) => plan.get(entry) ?? sizeOf(entry);
  const sorted = [...old].sort(byAge);
  let cleaned = 0;
  for (const entry of sorted) {
    const unhealthy = Math.min(maxScaledDown - cleaned, size(entry) - availableOf(entry));
    if (size(entry) === 0 || unhealthy <= 0) continue;
    plan.set(entry, size(entry) - unhealthy);
    cleaned += unhealthy;
  }
  let room = sum(all, availableOf) - minAvailable;
  for (const entry of sorted) {
    if (room <= 0) break;
    const count = Math.min(size(entry), room);
    if (count > 0) plan.set(entry, size(entry) - count);
    room -= count;
  }
  return plan;
}

/** Whether `spec.replicas` changed since the ReplicaSets were scaled last. */
export function isScalingEvent(deployment: Deployment, replicaSets: readonly ReplicaSet[]): boolean {
  return replicaSets.some((entry) => {
    const desired = entry.metadata?.annotations?.[DESIRED_REPLICAS];
    return sizeOf(entry) > 0 && desired !== undefined && Number(desired) !== (deployment.spec?.replicas ?? 1);
  });
}

/** New sizes after a change of `spec.replicas`: in proportion while several ReplicaSets have pods. */
export function planScaling(
  deployment: Deployment,
  newReplicaSet: ReplicaSet | undefined,
  old: readonly ReplicaSet[],
): ScalePlan {
  const wanted = deployment.spec?.replicas ?? 1;
  const all = newReplicaSet ? [...old, newReplicaSet] : [...old];
  const active = all.filter((entry) => sizeOf(entry) > 0);
  if (active.length <= 1) {
    const latest = active[0] ?? newReplicaSet ?? [...old].sort((a, b) => revisionOf(b) - revisionOf(a))[0];
    return new Map(latest ? [[latest, wanted]] : []);
  }
  if (newReplicaSet && isSaturated(wanted, newReplicaSet)) {
    return new Map(active.filter((entry) => entry !== newReplicaSet).map((entry) => [entry, 0]));
  }
  if (deployment.spec?.strategy?.type === 'Recreate') return new Map();
  return planProportions(deployment, active);
}

function isSaturated(wanted: number, newReplicaSet: ReplicaSet): boolean {
  const desired = Number(newReplicaSet.metadata?.annotations?.[DESIRED_REPLICAS]);
  return sizeOf(newReplicaSet) === wanted && desired === wanted && availableOf(newReplicaSet) === wanted;
}

function planProportions(deployment: Deployment, active: readonly ReplicaSet[]): ScalePlan {
  const wanted = deployment.spec?.replicas ?? 1;
  const allowed = wanted > 0 ? wanted + rollingUpdateOf(deployment).maxSurge : 0;
  const toAdd = allowed - sum(active, sizeOf);
  const newerFirst = toAdd > 0 ? -1 : 1;
  const sorted = [...active].sort(
    (a, b) =>
      sizeOf(b) - sizeOf(a) ||
      newerFirst * (timeMs(a.metadata?.creationTimestamp) - timeMs(b.metadata?.creationTimestamp)),
  );
  const plan = new Map<ReplicaSet, number>();
  let added = 0;
  for (const entry of sorted) {
    const share = toAdd === 0 ? 0 : proportionOf(deployment, entry, toAdd - added);
    plan.set(entry, sizeOf(entry) + share);
    added += share;
  }
  const first = sorted[0];
  if (first && toAdd !== 0) plan.set(first, Math.max(0, plan.get(first)! + toAdd - added));
  return plan;
}

/** The ReplicaSet's share of a change by its size against that of the Deployment when it was scaled last. */
function proportionOf(deployment: Deployment, replicaSet: ReplicaSet, left: number): number {
  const size = sizeOf(replicaSet);
  if (size === 0 || left === 0) return 0;
  const wanted = deployment.spec?.replicas ?? 1;
  const annotated =
    Number(replicaSet.metadata?.annotations?.[MAX_REPLICAS]) || deployment.status?.replicas || size;
  const newMax = wanted + rollingUpdateOf(deployment).maxSurge;
  const fraction = wanted === 0 ? -size : Math.round((size * newMax) / annotated) - size;
  return left > 0 ? Math.min(fraction, left) : Math.max(fraction, left);
}
