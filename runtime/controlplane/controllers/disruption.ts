import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import type { PodDisruptionBudget } from 'kubernetes-types/policy/v1.d.ts';
import {
  DEPLOYMENTS,
  type Kind,
  type KubeObject,
  POD_DISRUPTION_BUDGETS,
  PODS,
  REPLICA_SETS,
  REPLICATION_CONTROLLERS,
  STATEFUL_SETS,
} from '../../api/kinds.ts';
import { matchesLabelSelector } from '../../api/label-selectors.ts';
import { updateStatus } from '../component/action.ts';
import {
  controllerOf,
  isPodReady,
  isPodTerminal,
  isSameJson,
  resolveIntOrPercent,
  timeMs,
  withCondition,
} from '../component/objects.ts';
import type { View } from '../component/view.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watch,
  watchSelf,
} from './controller.ts';

/** Whose replicas tell how many pods there should be. */
const OWNER_KINDS: readonly Kind<KubeObject>[] = [
  DEPLOYMENTS,
  REPLICA_SETS,
  STATEFUL_SETS,
  REPLICATION_CONTROLLERS,
];
/** An eviction that did not come to pass stops to count after this time. */
const EVICTION_TIMEOUT_MS = 2 * 60_000;

/** Keeps the status of PodDisruptionBudgets, by which evictions are let or refused. */
export function createDisruptionController(): Controller {
  return {
    name: 'disruption-controller',
    watches: [
      watchSelf(POD_DISRUPTION_BUDGETS),
      watch(PODS, ({ object, previous }, view) => {
        const { namespace = '' } = object.metadata ?? {};
        return view
          .inNamespace(POD_DISRUPTION_BUDGETS, namespace)
          .filter(({ spec }) =>
            [object, previous].some(
              (pod) => pod && matchesLabelSelector(spec?.selector, pod.metadata?.labels),
            ),
          )
          .map(({ metadata }) => `${namespace}/${metadata?.name}`);
      }),
      ...OWNER_KINDS.map((kind) => watch(kind, () => [])),
    ],
    reconcile: reconcileBudget,
  };
}

function reconcileBudget(key: string, { view, now }: ReconcileContext): ReconcileResult {
  const budget = view.get(POD_DISRUPTION_BUDGETS, key);
  if (!budget || budget.metadata?.deletionTimestamp) return SETTLED;
  const pods = view
    .inNamespace(PODS, budget.metadata?.namespace ?? '')
    .filter(
      (pod) => !isPodTerminal(pod) && matchesLabelSelector(budget.spec?.selector, pod.metadata?.labels),
    );
  const { expectedPods, desiredHealthy } = countDesired(budget, pods, view);
  const disruptedPods = Object.fromEntries(
    Object.entries(budget.status?.disruptedPods ?? {}).filter(([name, since]) => {
      const pod = pods.find((entry) => entry.metadata?.name === name);
      return pod && !pod.metadata?.deletionTimestamp && timeMs(since) + EVICTION_TIMEOUT_MS > now.getTime();
    }),
  );
  const currentHealthy = pods.filter(
    (pod) =>
      !pod.metadata?.deletionTimestamp && !((pod.metadata?.name ?? '') in disruptedPods) && isPodReady(pod),
  ).length;
  const disruptionsAllowed = expectedPods > 0 ? Math.max(0, currentHealthy - desiredHealthy) : 0;
  const isAllowed = disruptionsAllowed > 0;
  const condition = {
    type: 'DisruptionAllowed',
    status: isAllowed ? 'True' : 'False',
    reason: isAllowed ? 'SufficientPods' : 'InsufficientPods',
    message: '',
    observedGeneration: budget.metadata?.generation ?? 0,
  };
  const status = {
    currentHealthy,
    desiredHealthy,
    expectedPods,
    disruptionsAllowed,
    observedGeneration: budget.metadata?.generation ?? 0,
    conditions: withCondition(
      budget.status?.conditions as (typeof condition & { lastTransitionTime?: string })[] | undefined,
      condition,
      now,
    ),
    ...(Object.keys(disruptedPods).length > 0 ? { disruptedPods } : {}),
  };
  const requeueAfterMs = Object.keys(disruptedPods).length > 0 ? EVICTION_TIMEOUT_MS : undefined;
  if (isSameJson(status, budget.status)) return { actions: [], requeueAfterMs };
  const next = { ...budget, status } as PodDisruptionBudget;
  return { actions: [updateStatus(POD_DISRUPTION_BUDGETS, next)], requeueAfterMs };
}

function countDesired(
  { spec }: PodDisruptionBudget,
  pods: readonly Pod[],
  view: View,
): { readonly expectedPods: number; readonly desiredHealthy: number } {
  if (spec?.maxUnavailable !== undefined) {
    const expectedPods = countExpected(pods, view);
    const unavailable = resolveIntOrPercent(spec.maxUnavailable, expectedPods, 'up');
    return { expectedPods, desiredHealthy: Math.max(0, expectedPods - unavailable) };
  }
  const minimum = spec?.minAvailable;
  if (typeof minimum === 'string' && minimum.endsWith('%')) {
    const expectedPods = countExpected(pods, view);
    return { expectedPods, desiredHealthy: resolveIntOrPercent(minimum, expectedPods, 'up') };
  }
  return { expectedPods: pods.length, desiredHealthy: Number(minimum ?? 0) };
}

/** The replicas that the pods' controllers want, each controller counted once. */
function countExpected(pods: readonly Pod[], view: View): number {
  const wanted = new Map<string, number>();
  for (const pod of pods) {
    const owner = controllerOf(pod);
    if (!owner || wanted.has(owner.uid)) continue;
    const key = `${pod.metadata?.namespace}/${owner.name}`;
    if (owner.kind === 'ReplicaSet') {
      const replicaSet = view.get(REPLICA_SETS, key);
      const parent = controllerOf(replicaSet);
      const deployment = parent && view.get(DEPLOYMENTS, `${pod.metadata?.namespace}/${parent.name}`);
      if (parent && deployment) wanted.set(parent.uid, deployment.spec?.replicas ?? 1);
      else wanted.set(owner.uid, replicaSet?.spec?.replicas ?? 1);
    } else if (owner.kind === 'StatefulSet') {
      wanted.set(owner.uid, view.get(STATEFUL_SETS, key)?.spec?.replicas ?? 1);
    } else if (owner.kind === 'ReplicationController') {
      wanted.set(owner.uid, view.get(REPLICATION_CONTROLLERS, key)?.spec?.replicas ?? 1);
    }
  }
  return [...wanted.values()].reduce((total, replicas) => total + replicas, 0);
}
