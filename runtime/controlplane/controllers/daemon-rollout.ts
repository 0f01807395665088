import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import type { Action } from '../component/action.ts';
import { isPodAvailable, resolveIntOrPercent } from '../component/objects.ts';
import type { DaemonState } from './daemon-nodes.ts';
import { deleteDaemonPod, isUpdated } from './daemon-pods.ts';

/** Pods beyond the one that a node should have: during a surge one old and one new may stay. */
export function superfluous(state: DaemonState, staying: readonly Pod[]): Pod[] {
  if (staying.length <= 1) return [];
  if (rolloutLimits(state).maxSurge === 0) return staying.slice(1);
  const old = staying.filter((pod) => !isUpdated(state, pod));
  const updated = staying.filter((pod) => isUpdated(state, pod));
  const isReplaced = updated.some((pod) =>
    isPodAvailable(pod, state.set.spec?.minReadySeconds ?? 0, state.now),
  );
  return [...(isReplaced ? old : old.slice(1)), ...updated.slice(1)];
}

/** True when the node may have a new pod beside its old one. */
export function needsSurge(state: DaemonState, node: string, pods: readonly Pod[]): boolean {
  const { maxSurge } = rolloutLimits(state);
  if (maxSurge === 0 || pods.some((pod) => isUpdated(state, pod))) return false;
  if (pods.some((pod) => pod.metadata?.deletionTimestamp)) return false;
  const nodes = [...state.podsByNode].filter(([, list]) => list.length > 1).map(([name]) => name);
  const outdated = state.wanted
    .map((entry) => entry.metadata?.name ?? '')
    .filter((name) => !(state.podsByNode.get(name) ?? []).some((pod) => isUpdated(state, pod)));
  return outdated.slice(0, Math.max(0, maxSurge - nodes.length)).includes(node);
}

/** Deletes pods of old templates: those that do not work at once, others as maxUnavailable lets. */
export function planRollout(state: DaemonState): Action[] {
  const { set, wanted, now } = state;
  const { maxUnavailable, maxSurge } = rolloutLimits(state);
  if (set.spec?.updateStrategy?.type === 'OnDelete' || maxSurge > 0) return [];
  let unavailable = 0;
  const broken: Pod[] = [];
  const working: Pod[] = [];
  for (const node of wanted) {
    const pods = state.podsByNode.get(node.metadata?.name ?? '') ?? [];
    const available = pods.find(
      (pod) => !pod.metadata?.deletionTimestamp && isPodAvailable(pod, set.spec?.minReadySeconds ?? 0, now),
    );
    if (!available) unavailable += 1;
    for (const pod of pods) {
      if (isUpdated(state, pod) || pod.metadata?.deletionTimestamp) continue;
      (pod === available ? working : broken).push(pod);
    }
  }
  const room = Math.max(0, maxUnavailable - unavailable);
  return [...broken, ...working.slice(0, room)].map((pod) => deleteDaemonPod(state, pod));
}

function rolloutLimits({ set, wanted }: DaemonState): {
  readonly maxUnavailable: number;
  readonly maxSurge: number;
} {
  const { type, rollingUpdate } = set.spec?.updateStrategy ?? {};
  if (type === 'OnDelete') return { maxUnavailable: 0, maxSurge: 0 };
  const maxSurge = resolveIntOrPercent(rollingUpdate?.maxSurge, wanted.length, 'up');
  const unavailable = resolveIntOrPercent(rollingUpdate?.maxUnavailable ?? 1, wanted.length, 'up');
  return { maxSurge, maxUnavailable: maxSurge === 0 ? Math.max(1, unavailable) : unavailable };
}
