import type { View } from '../component/view.ts';
import { type FilterContext, type Rejection, rejectionsOf } from './filters.ts';
import { buildAffinityState } from './inter-pod-affinity.ts';
import type { NodeInfo } from './node-info.ts';
import type { PodInfo } from './pod-info.ts';
import { scoreNodes } from './scores.ts';
import { buildSpreadState } from './topology-spread.ts';

/** Where a pod goes, or why it goes nowhere. */
export type Placement =
  | { readonly node: NodeInfo }
  | {
      readonly node: undefined;
      readonly message: string;
      readonly rejections: ReadonlyMap<NodeInfo, readonly Rejection[]>;
    };

/** Chooses the best of the nodes that the pod fits; `pick` decides among equals (0 <= pick(n) < n). */
export function placePod(
  pod: PodInfo,
  nodes: readonly NodeInfo[],
  view: View,
  pick: (count: number) => number,
): Placement {
  if (nodes.length === 0) {
    return { node: undefined, message: 'no nodes available to schedule pods', rejections: new Map() };
  }
  const context = buildContext(pod, nodes, view);
  const rejections = new Map<NodeInfo, readonly Rejection[]>();
  const fitting: NodeInfo[] = [];
  for (const node of nodes) {
    const reasons = rejectionsOf(pod, node, context);
    if (reasons.length === 0) fitting.push(node);
    else rejections.set(node, reasons);
  }
  if (fitting.length === 0)
    return { node: undefined, message: formatRejections(nodes.length, rejections), rejections };
  if (fitting.length === 1) return { node: fitting[0]! };
  const totals = scoreNodes(pod, fitting, { ...context, nodes });
  const best = Math.max(...totals);
  const winners = fitting.filter((_, index) => totals[index] === best);
  return { node: winners[pick(winners.length)]! };
}

/** What the filters need to know of all nodes. */
export function buildContext(pod: PodInfo, nodes: readonly NodeInfo[], view: View): FilterContext {
  return {
    view,
    affinity: buildAffinityState(pod, nodes, view),
    spread: buildSpreadState(pod, nodes, view),
  };
}

/** "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable." */
function formatRejections(
  nodeCount: number,
  rejections: ReadonlyMap<NodeInfo, readonly Rejection[]>,
): string {
  const counts = new Map<string, number>();
  for (const reasons of rejections.values()) {
    for (const { reason } of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  const parts = [...counts].map(([reason, count]) => `${count} ${reason}`).sort();
  return `0/${nodeCount} nodes are available: ${parts.join(', ')}.`;
}
