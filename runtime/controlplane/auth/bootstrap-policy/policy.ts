import type * as rbac from 'kubernetes-types/rbac/v1.d.ts';
import type { KubeObject } from '../../../api/kinds.ts';
import { CLUSTER_ROLE_ROWS, type ClusterRoleRow } from './cluster-roles.ts';
import { CONTROLLER_ROLE_ROWS } from './controller-roles.ts';
import { NAMESPACE_ROLE_ROWS, type NamespaceRoleRow } from './namespace-roles.ts';
import { type RuleRow, toPolicyRule } from './rule-table.ts';

const RBAC_GROUP = 'rbac.authorization.k8s.io';
const API_VERSION = `${RBAC_GROUP}/v1`;
const CONTROLLER_PREFIX = 'system:controller:';

/** ClusterRole → users ("u:"), groups ("g:") and kube-system service accounts ("s:") that it is bound to. */
const CLUSTER_ROLE_BINDING_ROWS: Readonly<Record<string, string>> = {
  'cluster-admin': 'g:system:masters',
  'system:monitoring': 'g:system:monitoring',
  'system:discovery': 'g:system:authenticated',
  'system:basic-user': 'g:system:authenticated',
  'system:public-info-viewer': 'g:system:authenticated g:system:unauthenticated',
  'system:node-proxier': 'u:system:kube-proxy',
  'system:kube-controller-manager': 'u:system:kube-controller-manager',
  'system:kube-dns': 's:kube-dns',
  'system:kube-scheduler': 'u:system:kube-scheduler',
  'system:volume-scheduler': 'u:system:kube-scheduler',
  'system:service-account-issuer-discovery': 'g:system:serviceaccounts',
  // Kubelets get their rights from the Node authorizer; the binding stays without subjects.
  'system:node': '',
};

/**
 * The RBAC objects that kube-apiserver 1.36 creates when it starts and repairs later (annotation autoupdate):
 * missing rules and subjects are added to what is there, nothing is taken away.
 */
export function buildBootstrapPolicy(): KubeObject[] {
  const controllers = Object.entries(CONTROLLER_ROLE_ROWS);
  return [
    ...CLUSTER_ROLE_ROWS.map(buildClusterRole),
    ...controllers.map(([name, rules]) => buildClusterRole({ name: `${CONTROLLER_PREFIX}${name}`, rules })),
    ...Object.entries(CLUSTER_ROLE_BINDING_ROWS).map(([role, subjects]) =>
      buildClusterRoleBinding(role, subjects),
    ),
    ...controllers.map(([name]) => buildClusterRoleBinding(`${CONTROLLER_PREFIX}${name}`, `s:${name}`)),
    ...NAMESPACE_ROLE_ROWS.flatMap((row) => [buildRole(row), buildRoleBinding(row)]),
  ];
}

function buildMetadata(name: string, labels: Readonly<Record<string, string>> = {}) {
  return {
    name,
    labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults', ...labels },
    annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'true' },
  };
}

function buildRules(rows: readonly RuleRow[]): rbac.PolicyRule[] {
  return rows.map(toPolicyRule) as rbac.PolicyRule[];
}

function buildClusterRole({ name, rules, aggregates, aggregatedTo }: ClusterRoleRow): rbac.ClusterRole {
  const label = (target: string) => ({ [`rbac.authorization.k8s.io/aggregate-to-${target}`]: 'true' });
  return {
    apiVersion: API_VERSION,
    kind: 'ClusterRole',
    metadata: buildMetadata(name, aggregatedTo ? label(aggregatedTo) : {}),
    ...(aggregates
      ? { aggregationRule: { clusterRoleSelectors: [{ matchLabels: label(aggregates) }] } }
      : {}),
    rules: buildRules(rules),
  };
}

function buildClusterRoleBinding(role: string, subjects: string): rbac.ClusterRoleBinding {
  return {
    apiVersion: API_VERSION,
    kind: 'ClusterRoleBinding',
    metadata: buildMetadata(role),
    roleRef: { apiGroup: RBAC_GROUP, kind: 'ClusterRole', name: role },
    ...(subjects === '' ? {} : { subjects: subjects.split(' ').map(parseSubject) }),
  };
}

function parseSubject(text: string): rbac.Subject {
  const name = text.slice(2);
  if (text.startsWith('s:')) return { kind: 'ServiceAccount', name, namespace: 'kube-system' };
  return { kind: text.startsWith('u:') ? 'User' : 'Group', apiGroup: RBAC_GROUP, name };
}

function buildRole({ namespace, name, rules }: NamespaceRoleRow): rbac.Role {
  return {
    apiVersion: API_VERSION,
    kind: 'Role',
    metadata: { ...buildMetadata(name), namespace },
    rules: buildRules(rules),
  };
}

function buildRoleBinding(row: NamespaceRoleRow): rbac.RoleBinding {
  return {
    apiVersion: API_VERSION,
    kind: 'RoleBinding',
    metadata: { ...buildMetadata(row.bindingName ?? row.name), namespace: row.namespace },
    roleRef: { apiGroup: RBAC_GROUP, kind: 'Role', name: row.name },
    subjects: [
      ...(row.users ?? []).map((name) => parseSubject(`u:${name}`)),
      ...(row.serviceAccounts ?? []).map((name) => parseSubject(`s:${name}`)),
    ],
  };
}
