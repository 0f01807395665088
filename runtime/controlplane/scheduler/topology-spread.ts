import type { Pod, TopologySpreadConstraint } from 'kubernetes-types/core/v1.d.ts';
import type { LabelSelector } from 'kubernetes-types/meta/v1.d.ts';
import { REPLICA_SETS, REPLICATION_CONTROLLERS, SERVICES, STATEFUL_SETS } from '../../api/kinds.ts';
import { matchesLabelSelector, matchesLabels } from '../../api/label-selectors.ts';
import { findUntoleratedTaint, matchesNodeAffinity } from '../component/node-fit.ts';
import { controllerOf } from '../component/objects.ts';
import type { View } from '../component/view.ts';
import type { Rejection } from './filters.ts';
import type { NodeInfo } from './node-info.ts';
import type { PodInfo } from './pod-info.ts';

const HOSTNAME = 'kubernetes.io/hostname';
const ZONE = 'topology.kubernetes.io/zone';

interface Constraint {
  readonly topologyKey: string;
  readonly maxSkew: number;
  readonly minDomains: number;
  readonly isHard: boolean;
  readonly selects: (pod: Pod) => boolean;
  readonly honorsAffinity: boolean;
  readonly honorsTaints: boolean;
  /** Pods for each domain (value of the topology key). */
  readonly counts: Map<string, number>;
}

/** The spread constraints of one pod to be placed, with the pods counted. */
export interface SpreadState {
  readonly constraints: readonly Constraint[];
  /** The constraints are upstream's defaults: nodes without a key are fine. */
  readonly isDefault: boolean;
}

/** Counts the pods that the constraints of the pod select, in each of their domains. */
export function buildSpreadState(info: PodInfo, nodes: Iterable<NodeInfo>, view: View): SpreadState {
  const own = info.pod.spec?.topologySpreadConstraints ?? [];
  const isDefault = own.length === 0;
  const constraints = isDefault
    ? defaultConstraints(info.pod, view)
    : own.map((constraint) => buildConstraint(constraint, info.pod));
  if (constraints.length > 0) for (const node of nodes) countNode(constraints, info, node);
  return { constraints, isDefault };
}

/** Reasons by which a hard constraint keeps the pod off the node. */
export function rejectBySpread(
  { pod }: PodInfo,
  nodeInfo: NodeInfo,
  { constraints }: SpreadState,
): readonly Rejection[] {
  for (const constraint of constraints) {
    if (!constraint.isHard) continue;
    const value = nodeInfo.node?.metadata?.labels?.[constraint.topologyKey];
    if (value === undefined) {
      const reason = "node(s) didn't match pod topology spread constraints (missing required label)";
      return [{ reason, isFinal: true }];
    }
    const { counts, minDomains, maxSkew } = constraint;
    const minimum = counts.size < minDomains ? 0 : Math.min(...counts.values());
    const self = constraint.selects(pod) ? 1 : 0;
    if ((counts.get(value) ?? 0) + self - minimum > maxSkew) {
      return [{ reason: "node(s) didn't match pod topology spread constraints", isFinal: false }];
    }
  }
  return [];
}

/** The smaller the better: pods already there, weighed by the number of domains; undefined without say. */
export function scoreBySpread(nodeInfo: NodeInfo, state: SpreadState): number | undefined {
  const soft = state.constraints.filter((constraint) => !constraint.isHard);
  if (soft.length === 0) return undefined;
  let score = 0;
  for (const { topologyKey, counts, maxSkew } of soft) {
    const value = nodeInfo.node?.metadata?.labels?.[topologyKey];
    if (value === undefined) continue;
    score += (counts.get(value) ?? 0) * Math.log(counts.size + 2) + (maxSkew - 1);
  }
  return Math.round(score);
}

function countNode(constraints: readonly Constraint[], info: PodInfo, nodeInfo: NodeInfo): void {
  const { node } = nodeInfo;
  if (!node) return;
  for (const constraint of constraints) {
    const value = node.metadata?.labels?.[constraint.topologyKey];
    if (value === undefined) continue;
    if (constraint.honorsAffinity && !matchesNodeAffinity(info.pod.spec, node)) continue;
    if (
      constraint.honorsTaints &&
      findUntoleratedTaint(node.spec?.taints, info.pod.spec?.tolerations, ['NoSchedule', 'NoExecute'])
    ) {
      continue;
    }
    let count = constraint.counts.get(value) ?? 0;
    for (const { pod } of nodeInfo.pods.values()) {
      const isInNamespace = pod.metadata?.namespace === info.pod.metadata?.namespace;
      if (isInNamespace && !pod.metadata?.deletionTimestamp && constraint.selects(pod)) count += 1;
    }
    constraint.counts.set(value, count);
  }
}

function buildConstraint(constraint: TopologySpreadConstraint, pod: Pod): Constraint {
  const { topologyKey, maxSkew, whenUnsatisfiable, minDomains = 1, labelSelector } = constraint;
  const matchLabels = { ...labelSelector?.matchLabels };
  for (const key of constraint.matchLabelKeys ?? []) {
    const value = pod.metadata?.labels?.[key];
    if (value !== undefined) matchLabels[key] = value;
  }
  const selector: LabelSelector | undefined = labelSelector && { ...labelSelector, matchLabels };
  return {
    topologyKey,
    maxSkew,
    minDomains,
    isHard: whenUnsatisfiable === 'DoNotSchedule',
    selects: (other) => matchesLabelSelector(selector, other.metadata?.labels),
    honorsAffinity: constraint.nodeAffinityPolicy !== 'Ignore',
    honorsTaints: constraint.nodeTaintsPolicy === 'Honor',
    counts: new Map(),
  };
}

/** Upstream's defaults, for pods that a Service or a controller selects: spread softly over hosts and zones. */
function defaultConstraints(pod: Pod, view: View): Constraint[] {
  const selects = defaultSelector(pod, view);
  if (!selects) return [];
  const soft = { minDomains: 1, isHard: false, selects, honorsAffinity: true, honorsTaints: false };
  return [
    { ...soft, topologyKey: HOSTNAME, maxSkew: 3, counts: new Map() },
    { ...soft, topologyKey: ZONE, maxSkew: 5, counts: new Map() },
  ];
}

function defaultSelector(pod: Pod, view: View): ((other: Pod) => boolean) | undefined {
  const { namespace = '', labels } = pod.metadata ?? {};
  const merged: Record<string, string> = {};
  for (const { spec } of view.inNamespace(SERVICES, namespace)) {
    const selector = spec?.selector;
    if (selector && Object.keys(selector).length > 0 && matchesLabels(selector, labels)) {
      Object.assign(merged, selector);
    }
  }
  const owner = controllerOf(pod);
  const key = `${namespace}/${owner?.name}`;
  const selectors: LabelSelector[] = [];
  if (owner?.kind === 'ReplicationController') {
    Object.assign(merged, view.get(REPLICATION_CONTROLLERS, key)?.spec?.selector);
  } else if (owner?.kind === 'ReplicaSet' || owner?.kind === 'StatefulSet') {
    const spec =
      owner.kind === 'ReplicaSet' ? view.get(REPLICA_SETS, key)?.spec : view.get(STATEFUL_SETS, key)?.spec;
    if (spec?.selector) selectors.push(spec.selector);
  }
  if (Object.keys(merged).length === 0 && selectors.length === 0) return undefined;
  return (other) =>
    matchesLabels(merged, other.metadata?.labels) &&
    selectors.every((selector) => matchesLabelSelector(selector, other.metadata?.labels));
}
