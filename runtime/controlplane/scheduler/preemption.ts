import { timeMs } from '../component/objects.ts';
import type { View } from '../component/view.ts';
import { type Rejection, rejectionsOf } from './filters.ts';
import type { NodeInfo } from './node-info.ts';
import { buildContext } from './placement.ts';
import type { PodInfo } from './pod-info.ts';

/** The pods to evict from a node so that a more important one fits. */
export interface Preemption {
  readonly node: NodeInfo;
  readonly victims: readonly PodInfo[];
}

/**
 * The node whose loss is least: fewest important victims, then fewest, then youngest (upstream's
 * DefaultPreemption without disruption budgets). Undefined when evicting pods helps nowhere.
 */
export function findPreemption(
  pod: PodInfo,
  nodes: readonly NodeInfo[],
  rejections: ReadonlyMap<NodeInfo, readonly Rejection[]>,
  view: View,
): Preemption | undefined {
  if (pod.pod.spec?.preemptionPolicy === 'Never') return undefined;
  const candidates = nodes
    .filter((node) => !rejections.get(node)?.some((rejection) => rejection.isFinal))
    .flatMap((node) => selectVictims(pod, node, nodes, view) ?? []);
  return candidates.sort(compareLoss)[0];
}

function selectVictims(
  pod: PodInfo,
  node: NodeInfo,
  nodes: readonly NodeInfo[],
  view: View,
): Preemption | undefined {
  const lower = [...node.pods.values()].filter((other) => other.priority < pod.priority);
  if (lower.length === 0) return undefined;
  const trial = node.clone();
  const others = nodes.map((entry) => (entry === node ? trial : entry));
  const fits = () => rejectionsOf(pod, trial, buildContext(pod, others, view)).length === 0;
  for (const { key } of lower) trial.remove(key);
  if (!fits()) return undefined;
  const victims: PodInfo[] = [];
  for (const other of lower.sort(byImportance)) {
    trial.add(other);
    if (fits()) continue;
    trial.remove(other.key);
    victims.push(other);
  }
  return { node, victims };
}

function byImportance(left: PodInfo, right: PodInfo): number {
  return right.priority - left.priority || startOf(left) - startOf(right);
}

function startOf({ pod }: PodInfo): number {
  return timeMs(pod.status?.startTime ?? pod.metadata?.creationTimestamp);
}

function compareLoss(left: Preemption, right: Preemption): number {
  const highest = ({ victims }: Preemption) => Math.max(...victims.map((victim) => victim.priority));
  const sum = ({ victims }: Preemption) => victims.reduce((total, victim) => total + victim.priority, 0);
  return (
    highest(left) - highest(right) ||
    sum(left) - sum(right) ||
    left.victims.length - right.victims.length ||
    Math.max(...right.victims.map(startOf)) - Math.max(...left.victims.map(startOf))
  );
}
