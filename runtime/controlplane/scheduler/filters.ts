import { findUntoleratedTaint, matchesNodeAffinity, toleratesTaint } from '../component/node-fit.ts';
import type { View } from '../component/view.ts';
import type { AffinityState } from './inter-pod-affinity.ts';
import { rejectByAffinity } from './inter-pod-affinity.ts';
import type { NodeInfo } from './node-info.ts';
import type { PodInfo } from './pod-info.ts';
import { rejectBySpread, type SpreadState } from './topology-spread.ts';
import { rejectByVolumes } from './volumes.ts';

/** Why a pod cannot go to a node, in upstream's words; `isFinal`: evicting other pods would not help. */
export interface Rejection {
  readonly reason: string;
  readonly isFinal: boolean;
}

/** What filters read besides pod and node, prepared once for each pod. */
export interface FilterContext {
  readonly view: View;
  readonly affinity: AffinityState;
  readonly spread: SpreadState;
}

/** One reason to keep a pod off a node; [] lets it pass. */
export interface FilterRow {
  readonly name: string;
  readonly reject: (pod: PodInfo, node: NodeInfo, context: FilterContext) => readonly Rejection[];
}

const UNSCHEDULABLE_TAINT = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' } as const;

/** In upstream's order: the first that rejects gives the reasons. */
const FILTERS: readonly FilterRow[] = [
  { name: 'NodeUnschedulable', reject: rejectUnschedulable },
  { name: 'NodeName', reject: rejectName },
  { name: 'TaintToleration', reject: rejectTaints },
  { name: 'NodeAffinity', reject: rejectNodeAffinity },
  { name: 'NodePorts', reject: rejectPorts },
  { name: 'NodeResourcesFit', reject: rejectResources },
  { name: 'VolumeBinding', reject: (pod, node, { view }) => rejectByVolumes(pod, node, view) },
  { name: 'PodTopologySpread', reject: (pod, node, { spread }) => rejectBySpread(pod, node, spread) },
  { name: 'InterPodAffinity', reject: (_, node, { affinity }) => rejectByAffinity(node, affinity) },
];

/** The reasons of the first filter that keeps the pod off the node; [] when it fits. */
export function rejectionsOf(pod: PodInfo, node: NodeInfo, context: FilterContext): readonly Rejection[] {
  for (const filter of FILTERS) {
    const rejections = filter.reject(pod, node, context);
    if (rejections.length > 0) return rejections;
  }
  return [];
}

const final = (reason: string): readonly Rejection[] => [{ reason, isFinal: true }];

function rejectUnschedulable({ pod }: PodInfo, { node }: NodeInfo): readonly Rejection[] {
  if (!node?.spec?.unschedulable) return [];
  const isTolerated = pod.spec?.tolerations?.some((entry) => toleratesTaint(entry, UNSCHEDULABLE_TAINT));
  return isTolerated ? [] : final('node(s) were unschedulable');
}

function rejectName({ pod }: PodInfo, { name }: NodeInfo): readonly Rejection[] {
  const wanted = pod.spec?.nodeName;
  return wanted && wanted !== name ? final("node(s) didn't match the requested node name") : [];
}

function rejectTaints({ pod }: PodInfo, { node }: NodeInfo): readonly Rejection[] {
  const taint = findUntoleratedTaint(node?.spec?.taints, pod.spec?.tolerations, ['NoSchedule', 'NoExecute']);
  return taint ? final(`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`) : [];
}

function rejectNodeAffinity({ pod }: PodInfo, { node }: NodeInfo): readonly Rejection[] {
  if (node && matchesNodeAffinity(pod.spec, node)) return [];
  return final("node(s) didn't match Pod's node affinity/selector");
}

function rejectPorts({ hostPorts }: PodInfo, node: NodeInfo): readonly Rejection[] {
  if (!node.hasPortClash(hostPorts)) return [];
  return [{ reason: "node(s) didn't have free ports for the requested pod ports", isFinal: false }];
}

function rejectResources({ requests }: PodInfo, node: NodeInfo): readonly Rejection[] {
  const rejections: Rejection[] = [];
  if (node.pods.size + 1 > (node.allocatable['pods'] ?? 0)) {
    rejections.push({ reason: 'Too many pods', isFinal: false });
  }
  for (const [name, amount] of Object.entries(requests)) {
    const total = node.allocatable[name] ?? 0;
    if (amount === 0 || amount <= total - (node.requested[name] ?? 0)) continue;
    rejections.push({ reason: `Insufficient ${name}`, isFinal: amount > total });
  }
  return rejections;
}
