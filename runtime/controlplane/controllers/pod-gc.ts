import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { NODES, PODS } from '../../api/kinds.ts';
import { type Action, mergePatch, parallel, remove } from '../component/action.ts';
import { byAge, isPodTerminal, withCondition } from '../component/objects.ts';
import type { View } from '../component/view.ts';
import { type Controller, type ReconcileResult, watch } from './controller.ts';

const KEY = 'pods';
const PERIOD_MS = 20_000;
/** A node must be away this long before its pods go: the watch of nodes may lag behind that of pods. */
const QUARANTINE_MS = 40_000;

/** Deletes pods that nothing else would: of nodes that are gone, ended ones beyond a number, unbound deleted ones. */
export function createPodGarbageCollector(threshold: number): Controller {
  const missingSince = new Map<string, number>();
  return {
    name: 'pod-garbage-collector-controller',
    watches: [watch(PODS, () => []), watch(NODES, () => [])],
    workers: 1,
    periodic: { keys: [KEY], everyMs: PERIOD_MS },
    reconcile(_, { view, now }): ReconcileResult {
      const pods = view.list(PODS);
      const lost = findLostNodes(pods, view, missingSince, now.getTime());
      const actions = [
        ...pods.filter((pod) => lost.has(pod.spec?.nodeName ?? '')).flatMap((pod) => removeOrphan(pod, now)),
        ...findSurplus(pods, threshold).map((pod) => remove(PODS, pod, { gracePeriodSeconds: 0 })),
        ...pods
          .filter((pod) => pod.metadata?.deletionTimestamp && !pod.spec?.nodeName)
          .map((pod) => remove(PODS, pod, { gracePeriodSeconds: 0 })),
      ];
      return { actions: parallel(actions) };
    },
  };
}

function findLostNodes(
  pods: readonly Pod[],
  view: View,
  missingSince: Map<string, number>,
  nowMs: number,
): ReadonlySet<string> {
  const missing = new Set(
    pods.flatMap((pod) => {
      const name = pod.spec?.nodeName;
      return name && !view.get(NODES, name) ? [name] : [];
    }),
  );
  for (const name of [...missingSince.keys()]) if (!missing.has(name)) missingSince.delete(name);
  for (const name of missing) if (!missingSince.has(name)) missingSince.set(name, nowMs);
  return new Set([...missing].filter((name) => nowMs - missingSince.get(name)! >= QUARANTINE_MS));
}

function removeOrphan(pod: Pod, now: Date): Action[] {
  const deletion = remove(PODS, pod, { gracePeriodSeconds: 0 });
  if (isPodTerminal(pod)) return [deletion];
  const condition = {
    type: 'DisruptionTarget',
    status: 'True',
    reason: 'DeletionByPodGC',
    message: 'PodGC: node no longer exists',
  };
  const conditions = withCondition(pod.status?.conditions, condition, now);
  const body = { status: { phase: 'Failed', conditions } };
  return [{ verb: 'parallel', actions: [mergePatch(PODS, pod, body, 'status')] }, deletion];
}

function findSurplus(pods: readonly Pod[], threshold: number): Pod[] {
  if (threshold <= 0) return [];
  const ended = pods.filter((pod) => isPodTerminal(pod) && !pod.metadata?.deletionTimestamp);
  return ended.sort(byAge).slice(0, Math.max(0, ended.length - threshold));
}
