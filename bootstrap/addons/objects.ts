import type { KubeObject } from '../../runtime/api/kinds.ts';
import type { ControlPlaneInput, NameValue } from '../../templates/input.ts';
import type { ComponentDocument } from '../config/types.ts';

/** What the cluster's objects depend on; the loaded configuration of init fits. */
export interface ObjectInput extends ControlPlaneInput {
  readonly cluster: ControlPlaneInput['cluster'] & {
    readonly dns: { readonly disabled: boolean };
    readonly proxy: { readonly disabled: boolean };
  };
  readonly kubelet: ComponentDocument;
  readonly kubeProxy: ComponentDocument;
  readonly userSupplied: { readonly kubelet: boolean; readonly kubeProxy: boolean };
  /** Proxy variables for kube-proxy's pod. */
  readonly proxyEnvs?: readonly NameValue[] | undefined;
}

export const KUBE_SYSTEM = 'kube-system';
export const KUBE_PUBLIC = 'kube-public';
/** Users that authenticated with a bootstrap token for joining. */
export const BOOTSTRAPPERS_GROUP = 'system:bootstrappers:kubeadm:default-node-token';
/** All nodes. */
export const NODES_GROUP = 'system:nodes';
/** Administrators whose rights RBAC can take away. */
export const CLUSTER_ADMINS_GROUP = 'kubeadm:cluster-admins';

const RBAC_GROUP = 'rbac.authorization.k8s.io';
const RBAC_VERSION = `${RBAC_GROUP}/v1`;

/** Who a binding is for. */
export type Subject =
  | { readonly kind: 'User' | 'Group'; readonly name: string }
  | { readonly kind: 'ServiceAccount'; readonly name: string; readonly namespace: string };

export interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

/** Any API object as data. */
export function object(value: Readonly<Record<string, unknown>>): KubeObject {
  return value as KubeObject;
}

export function configMap(
  ref: { readonly name: string; readonly namespace: string },
  data: Readonly<Record<string, string>>,
  metadata: Readonly<Record<string, unknown>> = {},
): KubeObject {
  return object({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { ...ref, ...metadata }, data });
}

export function serviceAccount(name: string, namespace: string): KubeObject {
  return object({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace } });
}

export function clusterRole(name: string, rules: readonly PolicyRule[]): KubeObject {
  return object({ apiVersion: RBAC_VERSION, kind: 'ClusterRole', metadata: { name }, rules });
}

export function clusterRoleBinding(name: string, role: string, subjects: readonly Subject[]): KubeObject {
  return object({
    apiVersion: RBAC_VERSION,
    kind: 'ClusterRoleBinding',
    metadata: { name },
    roleRef: { apiGroup: RBAC_GROUP, kind: 'ClusterRole', name: role },
    subjects: subjects.map(withGroup),
  });
}

/** A Role and the RoleBinding of the same name. */
export function roleWithBinding(
  ref: { readonly name: string; readonly namespace: string },
  rules: readonly PolicyRule[],
  subjects: readonly Subject[],
): readonly KubeObject[] {
  return [
    object({ apiVersion: RBAC_VERSION, kind: 'Role', metadata: ref, rules }),
    object({
      apiVersion: RBAC_VERSION,
      kind: 'RoleBinding',
      metadata: ref,
      roleRef: { apiGroup: RBAC_GROUP, kind: 'Role', name: ref.name },
      subjects: subjects.map(withGroup),
    }),
  ];
}

/** The right to read one object. */
export function getRule(resource: string, name: string): PolicyRule {
  return { apiGroups: [''], resources: [resource], resourceNames: [name], verbs: ['get'] };
}

function withGroup(subject: Subject) {
  return subject.kind === 'ServiceAccount' ? subject : { apiGroup: RBAC_GROUP, ...subject };
}
