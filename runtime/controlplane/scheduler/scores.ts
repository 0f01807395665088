import { matchesNodeSelectorTerm, toleratesTaint } from '../component/node-fit.ts';
import type { FilterContext } from './filters.ts';
import { scoreByAffinity } from './inter-pod-affinity.ts';
import type { NodeInfo } from './node-info.ts';
import type { PodInfo } from './pod-info.ts';
import { scoreBySpread } from './topology-spread.ts';

/** One opinion on where a pod should go: raw numbers, brought to 0..100 by `normalize`, then weighed. */
export interface ScoreRow {
  readonly name: string;
  readonly weight: number;
  readonly score: (pod: PodInfo, node: NodeInfo, context: ScoreContext) => number;
  readonly normalize: 'as-is' | 'more-is-better' | 'less-is-better' | 'range' | 'spread';
}

export interface ScoreContext extends FilterContext {
  /** Nodes of the cluster and how many have an image, for ImageLocality. */
  readonly nodes: readonly NodeInfo[];
}

const MAX = 100;
const MIB = 2 ** 20;
const IMAGE_MIN_BYTES = 23 * MIB;
const IMAGE_MAX_BYTES = 1000 * MIB;

/** Upstream's default score plugins and weights. */
const SCORES: readonly ScoreRow[] = [
  { name: 'TaintToleration', weight: 3, score: countPreferNoSchedule, normalize: 'less-is-better' },
  { name: 'NodeAffinity', weight: 2, score: sumPreferredAffinity, normalize: 'more-is-better' },
  { name: 'NodeResourcesFit', weight: 1, score: scoreLeastAllocated, normalize: 'as-is' },
  { name: 'NodeResourcesBalancedAllocation', weight: 1, score: scoreBalance, normalize: 'as-is' },
  {
    name: 'PodTopologySpread',
    weight: 2,
    score: (_, node, { spread }) => scoreBySpread(node, spread) ?? 0,
    normalize: 'spread',
  },
  {
    name: 'InterPodAffinity',
    weight: 2,
    score: (_, node, { affinity }) => scoreByAffinity(node, affinity),
    normalize: 'range',
  },
  { name: 'ImageLocality', weight: 1, score: scoreImages, normalize: 'as-is' },
];

/** The total of each node, in the order of `nodes`. */
export function scoreNodes(pod: PodInfo, nodes: readonly NodeInfo[], context: ScoreContext): number[] {
  const totals = nodes.map(() => 0);
  for (const row of SCORES) {
    const raw = nodes.map((node) => row.score(pod, node, context));
    normalize(raw, row.normalize).forEach((score, index) => {
      totals[index]! += score * row.weight;
    });
  }
  return totals;
}

function normalize(raw: readonly number[], how: ScoreRow['normalize']): readonly number[] {
  if (how === 'as-is') return raw;
  const max = Math.max(...raw);
  const min = Math.min(...raw);
  if (how === 'range') return raw.map((score) => (max === min ? 0 : (MAX * (score - min)) / (max - min)));
  if (how === 'spread') {
    return raw.map((score) => (max === 0 ? MAX : Math.floor((MAX * (max + min - score)) / max)));
  }
  const scaled = raw.map((score) => (max === 0 ? 0 : Math.floor((MAX * score) / max)));
  return how === 'more-is-better' ? scaled : scaled.map((score) => MAX - score);
}

function countPreferNoSchedule({ pod }: PodInfo, { node }: NodeInfo): number {
  const taints = node?.spec?.taints?.filter((taint) => taint.effect === 'PreferNoSchedule') ?? [];
  return taints.filter((taint) => !pod.spec?.tolerations?.some((entry) => toleratesTaint(entry, taint)))
    .length;
}

function sumPreferredAffinity({ pod }: PodInfo, { node }: NodeInfo): number {
  const terms = pod.spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return terms.reduce(
    (sum, { weight, preference }) => sum + (node && matchesNodeSelectorTerm(preference, node) ? weight : 0),
    0,
  );
}

function scoreLeastAllocated({ scored }: PodInfo, node: NodeInfo): number {
  const free = (name: 'cpu' | 'memory') => {
    const total = node.allocatable[name] ?? 0;
    const used = node.scored[name] + scored[name];
    return total === 0 || used > total ? 0 : Math.floor(((total - used) * MAX) / total);
  };
  return Math.floor((free('cpu') + free('memory')) / 2);
}

function scoreBalance({ scored }: PodInfo, node: NodeInfo): number {
  const fraction = (name: 'cpu' | 'memory') => {
    const total = node.allocatable[name] ?? 0;
    return total === 0 ? 0 : Math.min(1, (node.scored[name] + scored[name]) / total);
  };
  const deviation = Math.abs(fraction('cpu') - fraction('memory')) / 2;
  return Math.floor((1 - deviation) * MAX);
}

function scoreImages({ pod }: PodInfo, node: NodeInfo, { nodes }: ScoreContext): number {
  const containers = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
  let bytes = 0;
  for (const { image } of containers) {
    const name = normalizeImage(image ?? '');
    const size = node.imageBytes.get(name);
    if (size === undefined) continue;
    const holders = nodes.filter((entry) => entry.imageBytes.has(name)).length;
    bytes += (size * holders) / nodes.length;
  }
  const max = IMAGE_MAX_BYTES * Math.max(1, containers.length);
  const clamped = Math.min(Math.max(bytes, IMAGE_MIN_BYTES), max);
  return Math.floor((MAX * (clamped - IMAGE_MIN_BYTES)) / (max - IMAGE_MIN_BYTES));
}

function normalizeImage(name: string): string {
  return name.lastIndexOf(':') <= name.lastIndexOf('/') ? `${name}:latest` : name;
}
