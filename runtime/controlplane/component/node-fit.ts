import type { Node, NodeSelectorTerm, PodSpec, Taint, Toleration } from 'kubernetes-types/core/v1.d.ts';
import { matchesLabels, matchesRequirement } from '../../api/label-selectors.ts';

/** Whether the toleration covers the taint (API convention: empty key with Exists covers all). */
export function toleratesTaint(toleration: Toleration, taint: Taint): boolean {
  if (toleration.effect && toleration.effect !== taint.effect) return false;
  if (toleration.key && toleration.key !== taint.key) return false;
  const operator = toleration.operator || 'Equal';
  if (operator === 'Exists') return true;
  return toleration.key ? (toleration.value ?? '') === (taint.value ?? '') : false;
}

/** The first taint with one of the effects that no toleration covers, or undefined. */
export function findUntoleratedTaint(
  taints: readonly Taint[] | undefined,
  tolerations: readonly Toleration[] | undefined,
  effects: readonly string[],
): Taint | undefined {
  return taints?.find(
    (taint) =>
      effects.includes(taint.effect) && !tolerations?.some((toleration) => toleratesTaint(toleration, taint)),
  );
}

/** Whether `nodeSelector` and the required node affinity of the pod hold for the node. */
export function matchesNodeAffinity(spec: PodSpec | undefined, node: Node): boolean {
  if (!matchesLabels(spec?.nodeSelector, node.metadata?.labels)) return false;
  const required = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (!required) return true;
  return required.nodeSelectorTerms.some((term) => matchesNodeSelectorTerm(term, node));
}

/** Whether all requirements of the term hold; a term without any matches nothing. */
export function matchesNodeSelectorTerm(term: NodeSelectorTerm, node: Node): boolean {
  const expressions = term.matchExpressions ?? [];
  const fields = term.matchFields ?? [];
  if (expressions.length === 0 && fields.length === 0) return false;
  const nodeFields = { 'metadata.name': node.metadata?.name ?? '' };
  return (
    expressions.every((requirement) => matchesRequirement(requirement, node.metadata?.labels)) &&
    fields.every((requirement) => matchesRequirement(requirement, nodeFields))
  );
}
