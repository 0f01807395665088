import type { ClusterRole, ClusterRoleBinding, Subject } from 'kubernetes-types/rbac/v1.d.ts';
import type { KubeObject } from '../../../api/kinds.ts';
import { compactRules, uncoveredRules } from '../rbac/rules.ts';
import type { PolicyRule } from '../types.ts';

const AUTOUPDATE = 'rbac.authorization.kubernetes.io/autoupdate';

/** What must become of an RBAC object of the policy: undefined when it is right, or not the server's to change. */
export type Repair =
  | { readonly verb: 'update'; readonly object: KubeObject }
  /** A roleRef cannot be changed: the binding is made anew. */
  | { readonly verb: 'replace'; readonly object: KubeObject };

/**
 * Adds the rules, subjects, selectors, labels and annotations that `current` lacks; what is more stays. Only
 * objects annotated `rbac.authorization.kubernetes.io/autoupdate: "true"` are repaired (RBAC auto-reconciliation).
 */
export function repairPolicyObject(current: KubeObject, expected: KubeObject): Repair | undefined {
  if (current.metadata?.annotations?.[AUTOUPDATE] !== 'true') return undefined;
  const isBinding = 'roleRef' in expected;
  if (isBinding && !refersTo(current as ClusterRoleBinding, expected as ClusterRoleBinding)) {
    return { verb: 'replace', object: expected };
  }
  const additions = isBinding
    ? missingSubjects(current as ClusterRoleBinding, expected as ClusterRoleBinding)
    : missingRules(current as ClusterRole, expected as ClusterRole);
  const metadata = missingMetadata(current, expected);
  if (!additions && !metadata) return undefined;
  return {
    verb: 'update',
    object: { ...current, ...additions, metadata: { ...current.metadata, ...metadata } } as KubeObject,
  };
}

function refersTo({ roleRef }: ClusterRoleBinding, { roleRef: wanted }: ClusterRoleBinding): boolean {
  return roleRef.kind === wanted.kind && roleRef.name === wanted.name;
}

function missingSubjects(
  { subjects = [] }: ClusterRoleBinding,
  { subjects: wanted = [] }: ClusterRoleBinding,
): Pick<ClusterRoleBinding, 'subjects'> | undefined {
  const missing = wanted.filter((subject) => !subjects.some((held) => isSameSubject(held, subject)));
  return missing.length > 0 ? { subjects: [...subjects, ...missing] } : undefined;
}

function isSameSubject(left: Subject, right: Subject): boolean {
  return (
    left.kind === right.kind &&
    left.name === right.name &&
    (left.namespace ?? '') === (right.namespace ?? '') &&
    (left.apiGroup ?? '') === (right.apiGroup ?? '')
  );
}

/** Rules of an aggregated role are its controller's: of those only the selectors are looked at. */
function missingRules(
  current: ClusterRole,
  expected: ClusterRole,
): Pick<ClusterRole, 'rules' | 'aggregationRule'> | undefined {
  const held = current.aggregationRule?.clusterRoleSelectors ?? [];
  const selectors = (expected.aggregationRule?.clusterRoleSelectors ?? []).filter(
    (selector) => !held.some((other) => JSON.stringify(other) === JSON.stringify(selector)),
  );
  const rules = (current.rules ?? []) as PolicyRule[];
  const missing = compactRules(uncoveredRules(rules, (expected.rules ?? []) as PolicyRule[]));
  if (selectors.length === 0 && missing.length === 0) return undefined;
  return {
    ...(selectors.length > 0 ? { aggregationRule: { clusterRoleSelectors: [...held, ...selectors] } } : {}),
    ...(missing.length > 0 ? { rules: [...rules, ...missing] as NonNullable<ClusterRole['rules']> } : {}),
  };
}

function missingMetadata(
  { metadata: current }: KubeObject,
  { metadata: expected }: KubeObject,
): Pick<NonNullable<KubeObject['metadata']>, 'labels' | 'annotations'> | undefined {
  const labels = { ...expected?.labels, ...current?.labels };
  const annotations = { ...expected?.annotations, ...current?.annotations };
  const size = (map: object | undefined) => Object.keys(map ?? {}).length;
  const isSame = size(labels) === size(current?.labels) && size(annotations) === size(current?.annotations);
  return isSame ? undefined : { labels, annotations };
}
