import type { Pod, PodAffinityTerm } from 'kubernetes-types/core/v1.d.ts';
import type { LabelSelector } from 'kubernetes-types/meta/v1.d.ts';
import { NAMESPACES } from '../../api/kinds.ts';
import { matchesLabelSelector } from '../../api/label-selectors.ts';
import type { View } from '../component/view.ts';
import type { Rejection } from './filters.ts';
import type { NodeInfo } from './node-info.ts';
import type { PodInfo } from './pod-info.ts';

interface Term {
  readonly topologyKey: string;
  readonly weight: number;
  readonly matches: (other: Pod) => boolean;
}

/** Numbers by "topology key=value", for one pod to be placed. */
export interface AffinityState {
  /** Whose anti-affinity forbids the incoming pod in these domains. */
  readonly forbiddenByOthers: ReadonlySet<string>;
  readonly affinity: readonly Term[];
  /** Domains with a pod that all required terms match, for each term. */
  readonly affinityDomains: readonly ReadonlySet<string>[];
  /** The pod matches its own terms and nothing else does yet: it may be the first. */
  readonly isFirst: boolean;
  readonly antiAffinity: readonly Term[];
  readonly antiAffinityDomains: readonly ReadonlySet<string>[];
  /** Sum of weights for each domain. */
  readonly preferred: ReadonlyMap<string, number>;
}

/** Looks at all pods once, for the pod that is to be placed. */
export function buildAffinityState({ pod }: PodInfo, nodes: Iterable<NodeInfo>, view: View): AffinityState {
  const affinity = requiredTerms(pod, 'podAffinity', view);
  const antiAffinity = requiredTerms(pod, 'podAntiAffinity', view);
  const preferring = [
    ...preferredTerms(pod, 'podAffinity', 1, view),
    ...preferredTerms(pod, 'podAntiAffinity', -1, view),
  ];
  const forbiddenByOthers = new Set<string>();
  const affinityDomains = affinity.map(() => new Set<string>());
  const antiAffinityDomains = antiAffinity.map(() => new Set<string>());
  const preferred = new Map<string, number>();
  const isPlain = affinity.length + antiAffinity.length + preferring.length === 0;
  for (const nodeInfo of nodes) {
    const labels = nodeInfo.node?.metadata?.labels;
    if (!labels) continue;
    const domainOf = ({ topologyKey }: Term) =>
      labels[topologyKey] === undefined ? undefined : `${topologyKey}=${labels[topologyKey]}`;
    for (const { pod: other } of nodeInfo.pods.values()) {
      if (isPlain && !other.spec?.affinity) continue;
      for (const term of requiredTerms(other, 'podAntiAffinity', view)) {
        const domain = domainOf(term);
        if (domain && term.matches(pod)) forbiddenByOthers.add(domain);
      }
      if (affinity.length > 0 && affinity.every((term) => term.matches(other))) {
        addDomains(affinity, affinityDomains, domainOf);
      }
      antiAffinity.forEach((term, index) => {
        const domain = domainOf(term);
        if (domain && term.matches(other)) antiAffinityDomains[index]!.add(domain);
      });
      for (const term of preferring)
        if (term.matches(other)) addWeight(preferred, domainOf(term), term.weight);
      for (const term of symmetricTerms(other, view)) {
        if (term.matches(pod)) addWeight(preferred, domainOf(term), term.weight);
      }
    }
  }
  const isFirst =
    affinityDomains.every((domains) => domains.size === 0) && affinity.every((term) => term.matches(pod));
  return {
    forbiddenByOthers,
    affinity,
    affinityDomains,
    isFirst,
    antiAffinity,
    antiAffinityDomains,
    preferred,
  };
}

/** Reasons by which required (anti-)affinity keeps the pod off the node. */
export function rejectByAffinity(nodeInfo: NodeInfo, state: AffinityState): readonly Rejection[] {
  const labels = nodeInfo.node?.metadata?.labels ?? {};
  for (let index = 0; index < state.affinity.length; index += 1) {
    const { topologyKey } = state.affinity[index]!;
    const value = labels[topologyKey];
    const isThere = value !== undefined && state.affinityDomains[index]!.has(`${topologyKey}=${value}`);
    if (!isThere && !(value !== undefined && state.isFirst)) {
      return [{ reason: "node(s) didn't match pod affinity rules", isFinal: true }];
    }
  }
  for (let index = 0; index < state.antiAffinity.length; index += 1) {
    const { topologyKey } = state.antiAffinity[index]!;
    if (state.antiAffinityDomains[index]!.has(`${topologyKey}=${labels[topologyKey]}`)) {
      return [{ reason: "node(s) didn't match pod anti-affinity rules", isFinal: false }];
    }
  }
  for (const domain of state.forbiddenByOthers) {
    const equals = domain.indexOf('=');
    if (labels[domain.slice(0, equals)] === domain.slice(equals + 1)) {
      return [{ reason: "node(s) didn't satisfy existing pods anti-affinity rules", isFinal: false }];
    }
  }
  return [];
}

/** Sum of the weights of preferred terms that hold on the node. */
export function scoreByAffinity(nodeInfo: NodeInfo, { preferred }: AffinityState): number {
  if (preferred.size === 0) return 0;
  let score = 0;
  for (const [key, value] of Object.entries(nodeInfo.node?.metadata?.labels ?? {})) {
    score += preferred.get(`${key}=${value}`) ?? 0;
  }
  return score;
}

type Side = 'podAffinity' | 'podAntiAffinity';

function requiredTerms(pod: Pod, side: Side, view: View): Term[] {
  const terms = pod.spec?.affinity?.[side]?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  return terms.map((term) => buildTerm(term, pod, 1, view));
}

function preferredTerms(pod: Pod, side: Side, sign: 1 | -1, view: View): Term[] {
  const terms = pod.spec?.affinity?.[side]?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  return terms.map(({ weight, podAffinityTerm }) => buildTerm(podAffinityTerm, pod, sign * weight, view));
}

/** Terms of a pod that is there already, as they pull or push the incoming one. */
function symmetricTerms(other: Pod, view: View): Term[] {
  if (!other.spec?.affinity) return [];
  return [
    ...requiredTerms(other, 'podAffinity', view),
    ...preferredTerms(other, 'podAffinity', 1, view),
    ...preferredTerms(other, 'podAntiAffinity', -1, view),
  ];
}

function buildTerm(term: PodAffinityTerm, owner: Pod, weight: number, view: View): Term {
  const { topologyKey, namespaces = [], namespaceSelector } = term;
  const selector = withMatchLabelKeys(term, owner);
  const own = owner.metadata?.namespace ?? '';
  const isNamed = (namespace: string) =>
    namespaces.length === 0 && !namespaceSelector ? namespace === own : namespaces.includes(namespace);
  const matches = (other: Pod) => {
    const namespace = other.metadata?.namespace ?? '';
    const isInScope =
      isNamed(namespace) ||
      (namespaceSelector !== undefined &&
        matchesLabelSelector(namespaceSelector, view.get(NAMESPACES, namespace)?.metadata?.labels ?? {}));
    return isInScope && matchesLabelSelector(selector, other.metadata?.labels);
  };
  return { topologyKey, weight, matches };
}

function withMatchLabelKeys(term: PodAffinityTerm, owner: Pod): LabelSelector | undefined {
  const { labelSelector, matchLabelKeys = [] } = term as PodAffinityTerm & { matchLabelKeys?: string[] };
  if (!labelSelector || matchLabelKeys.length === 0) return labelSelector;
  const matchLabels = { ...labelSelector.matchLabels };
  for (const key of matchLabelKeys) {
    const value = owner.metadata?.labels?.[key];
    if (value !== undefined) matchLabels[key] = value;
  }
  return { ...labelSelector, matchLabels };
}

function addDomains(
  terms: readonly Term[],
  domains: readonly Set<string>[],
  domainOf: (term: Term) => string | undefined,
): void {
  terms.forEach((term, index) => {
    const domain = domainOf(term);
    if (domain) domains[index]!.add(domain);
  });
}

function addWeight(weights: Map<string, number>, domain: string | undefined, weight: number): void {
  if (domain) weights.set(domain, (weights.get(domain) ?? 0) + weight);
}
