import t from 'tap';
import {
  buildBootstrapRbacObjects,
  buildCertificatesRoleObjects,
  buildClusterAdminsBinding,
} from '../../../bootstrap/addons/bootstrap-rbac.ts';
import {
  buildKubeadmConfigObjects,
  buildKubeletConfigObjects,
} from '../../../bootstrap/addons/cluster-config.ts';
import { loadConfiguration } from '../../../bootstrap/config/load.ts';

const RBAC = 'rbac.authorization.k8s.io';
const user = (name: string) => ({ apiGroup: RBAC, kind: 'User', name });
const group = (name: string) => ({ apiGroup: RBAC, kind: 'Group', name });
const BOOTSTRAPPERS = group('system:bootstrappers:kubeadm:default-node-token');
const NODES = group('system:nodes');
const get = (resource: string, name: string) => ({
  apiGroups: [''],
  resources: [resource],
  resourceNames: [name],
  verbs: ['get'],
});

interface Row {
  readonly name: string;
  /** Of the Role and its binding; without one they are of the cluster. */
  readonly namespace?: string;
  /** Rules of a role of the same name; without them `role` is bound, which the API server brings. */
  readonly rules?: readonly object[];
  readonly role?: string;
  readonly subjects: readonly object[];
}

const CSR = 'system:certificates.k8s.io:certificatesigningrequests';

/** kubeadm's objects for joining, as they are in a cluster that it made. */
const ROWS: readonly Row[] = [
  {
    name: 'kubeadm:bootstrap-signer-clusterinfo',
    namespace: 'kube-public',
    rules: [get('configmaps', 'cluster-info')],
    subjects: [user('system:anonymous')],
  },
  { name: 'kubeadm:kubelet-bootstrap', role: 'system:node-bootstrapper', subjects: [BOOTSTRAPPERS] },
  {
    name: 'kubeadm:get-nodes',
    rules: [{ apiGroups: [''], resources: ['nodes'], verbs: ['get'] }],
    subjects: [BOOTSTRAPPERS],
  },
  { name: 'kubeadm:node-autoapprove-bootstrap', role: `${CSR}:nodeclient`, subjects: [BOOTSTRAPPERS] },
  {
    name: 'kubeadm:node-autoapprove-certificate-rotation',
    role: `${CSR}:selfnodeclient`,
    subjects: [NODES],
  },
  {
    name: 'kubeadm:nodes-kubeadm-config',
    namespace: 'kube-system',
    rules: [get('configmaps', 'kubeadm-config')],
    subjects: [BOOTSTRAPPERS, NODES],
  },
  {
    name: 'kubeadm:kubelet-config',
    namespace: 'kube-system',
    rules: [get('configmaps', 'kubelet-config')],
    subjects: [BOOTSTRAPPERS, NODES],
  },
  {
    name: 'kubeadm:kubeadm-certs',
    namespace: 'kube-system',
    rules: [get('secrets', 'kubeadm-certs')],
    subjects: [BOOTSTRAPPERS],
  },
  {
    name: 'kubeadm:apiserver-kubelet-client',
    role: 'system:kubelet-api-admin',
    subjects: [user('kube-apiserver-kubelet-client')],
  },
  { name: 'kubeadm:cluster-admins', role: 'cluster-admin', subjects: [group('kubeadm:cluster-admins')] },
];

/** The objects of a row. */
function expand({ name, namespace, rules, role, subjects }: Row): readonly object[] {
  const scope = namespace === undefined ? 'Cluster' : '';
  const metadata = { name, ...(namespace === undefined ? {} : { namespace }) };
  const apiVersion = `${RBAC}/v1`;
  const roleRef = { apiGroup: RBAC, kind: `${scope}Role`, name: role ?? name };
  return [
    ...(rules ? [{ apiVersion, kind: `${scope}Role`, metadata, rules }] : []),
    { apiVersion, kind: `${scope}RoleBinding`, metadata, roleRef, subjects },
  ];
}

t.test('the objects for joining are those of kubeadm, and no others', async (t) => {
  const { config } = await loadConfiguration({
    kind: 'InitConfiguration',
    defaultsFrom: { hostname: 'node-1', advertiseAddress: '10.0.0.5' },
  });
  const built = [
    ...buildKubeadmConfigObjects(config),
    ...buildKubeletConfigObjects(config),
    ...buildBootstrapRbacObjects(),
    ...buildCertificatesRoleObjects(),
    buildClusterAdminsBinding(),
  ].filter((object) => object.apiVersion === `${RBAC}/v1`);
  const key = (object: unknown) => {
    const { kind, metadata } = object as { kind: string; metadata: { name: string } };
    return `${kind} ${metadata.name}`;
  };
  const unique = new Map(built.map((object) => [key(object), object]));
  const expected = ROWS.flatMap(expand);
  t.same([...unique.keys()].sort(), expected.map(key).sort());
  for (const object of expected) t.same(unique.get(key(object)), object, key(object));
});
