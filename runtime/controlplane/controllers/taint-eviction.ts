import type { Pod, Taint } from 'kubernetes-types/core/v1.d.ts';
import { NODES, PODS } from '../../api/kinds.ts';
import { event, remove, updateStatus } from '../component/action.ts';
import { toleratesTaint } from '../component/node-fit.ts';
import { isPodTerminal, keyOf, timeMs, withCondition } from '../component/objects.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watch,
} from './controller.ts';

/** Deletes pods from nodes with NoExecute taints, after the time that their tolerations give. */
export function createTaintEvictionController(): Controller {
  return {
    name: 'taint-eviction-controller',
    watches: [
      watch(PODS, ({ key, object, previous, type }) => {
        const isBound = object.spec?.nodeName !== undefined && type !== 'DELETED';
        return isBound && object.spec?.nodeName !== previous?.spec?.nodeName ? [key] : [];
      }),
      watch(NODES, ({ object, previous }, view) => {
        const before = noExecuteTaints(previous?.spec?.taints);
        const after = noExecuteTaints(object.spec?.taints);
        if (before.length === 0 && after.length === 0) return [];
        return view.podsOnNode(object.metadata?.name ?? '').map((pod) => keyOf(pod.metadata));
      }),
    ],
    reconcile: reconcilePod,
  };
}

function reconcilePod(key: string, { view, now }: ReconcileContext): ReconcileResult {
  const pod = view.get(PODS, key);
  if (!pod?.spec?.nodeName || pod.metadata?.deletionTimestamp || isPodTerminal(pod)) return SETTLED;
  const taints = noExecuteTaints(view.get(NODES, pod.spec.nodeName)?.spec?.taints);
  if (taints.length === 0) return SETTLED;
  const dueMs = evictionTimeMs(pod, taints);
  if (dueMs === undefined) return SETTLED;
  if (dueMs > now.getTime()) return { actions: [], requeueAfterMs: dueMs - now.getTime() };
  const condition = {
    type: 'DisruptionTarget',
    status: 'True',
    reason: 'DeletionByTaintManager',
    message: 'Taint manager: deleting due to NoExecute taint',
  };
  const conditions = withCondition(pod.status?.conditions, condition, now);
  return {
    actions: [
      event(PODS, pod, 'Normal', 'TaintManagerEviction', `Marking for deletion Pod ${key}`),
      updateStatus(PODS, { ...pod, status: { ...pod.status, conditions } }),
      remove(PODS, pod),
    ],
  };
}

/** When the pod has to go: at once, when a toleration runs out (ms since the epoch), or never (undefined). */
function evictionTimeMs(pod: Pod, taints: readonly Taint[]): number | undefined {
  const tolerations = pod.spec?.tolerations ?? [];
  let dueMs: number | undefined;
  for (const taint of taints) {
    const covering = tolerations.filter((toleration) => toleratesTaint(toleration, taint));
    if (covering.length === 0) return 0;
    const seconds = covering.flatMap((toleration) => toleration.tolerationSeconds ?? []);
    if (seconds.length === 0) continue;
    const end = timeMs(taint.timeAdded) + Math.max(0, Math.min(...seconds)) * 1000;
    dueMs = dueMs === undefined ? end : Math.min(dueMs, end);
  }
  return dueMs;
}

function noExecuteTaints(taints: readonly Taint[] | undefined): readonly Taint[] {
  return taints?.filter((taint) => taint.effect === 'NoExecute') ?? [];
}
