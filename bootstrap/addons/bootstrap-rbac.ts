import type { KubeObject } from '../../runtime/api/kinds.ts';
import {
  BOOTSTRAPPERS_GROUP,
  CLUSTER_ADMINS_GROUP,
  clusterRole,
  clusterRoleBinding,
  getRule,
  KUBE_PUBLIC,
  KUBE_SYSTEM,
  NODES_GROUP,
  roleWithBinding,
  type Subject,
} from './objects.ts';

const BOOTSTRAPPERS: Subject = { kind: 'Group', name: BOOTSTRAPPERS_GROUP };

/** Makes the group of admin.conf cluster administrators. */
export function buildClusterAdminsBinding(): KubeObject {
  return clusterRoleBinding('kubeadm:cluster-admins', 'cluster-admin', [
    { kind: 'Group', name: CLUSTER_ADMINS_GROUP },
  ]);
}

/** The rights that joining with a bootstrap token needs: discovery, TLS bootstrap and its approval. */
export function buildBootstrapRbacObjects(): readonly KubeObject[] {
  return [
    ...roleWithBinding(
      { name: 'kubeadm:bootstrap-signer-clusterinfo', namespace: KUBE_PUBLIC },
      [getRule('configmaps', 'cluster-info')],
      [{ kind: 'User', name: 'system:anonymous' }],
    ),
    clusterRoleBinding('kubeadm:kubelet-bootstrap', 'system:node-bootstrapper', [BOOTSTRAPPERS]),
    clusterRole('kubeadm:get-nodes', [{ apiGroups: [''], resources: ['nodes'], verbs: ['get'] }]),
    clusterRoleBinding('kubeadm:get-nodes', 'kubeadm:get-nodes', [BOOTSTRAPPERS]),
    clusterRoleBinding(
      'kubeadm:node-autoapprove-bootstrap',
      'system:certificates.k8s.io:certificatesigningrequests:nodeclient',
      [BOOTSTRAPPERS],
    ),
    clusterRoleBinding(
      'kubeadm:node-autoapprove-certificate-rotation',
      'system:certificates.k8s.io:certificatesigningrequests:selfnodeclient',
      [{ kind: 'Group', name: NODES_GROUP }],
    ),
    clusterRoleBinding('kubeadm:apiserver-kubelet-client', 'system:kubelet-api-admin', [
      { kind: 'User', name: 'kube-apiserver-kubelet-client' },
    ]),
  ];
}

/** The right of joining control-plane nodes to read the uploaded certificates. */
export function buildCertificatesRoleObjects(): readonly KubeObject[] {
  return roleWithBinding(
    { name: 'kubeadm:kubeadm-certs', namespace: KUBE_SYSTEM },
    [getRule('secrets', 'kubeadm-certs')],
    [BOOTSTRAPPERS],
  );
}
