import type { FlagName as PhaseFlag } from '../command-line/flags.ts';

export interface PhaseCommandRow {
  /** "certs/ca": the command is `phase certs ca`. */
  readonly name: string;
  readonly description: string;
  /** Beside --config, --dry-run and -o, which every phase has. */
  readonly flags: readonly PhaseFlag[];
}

const ENGINE: readonly PhaseFlag[] = ['engine', 'store'];
const CERTS: readonly PhaseFlag[] = ['cert-dir', 'kubernetes-version'];
const API_SERVER_CERT: readonly PhaseFlag[] = [
  ...CERTS,
  'apiserver-advertise-address',
  'apiserver-cert-extra-sans',
  'control-plane-endpoint',
  'node-name',
  'service-cidr',
  'service-dns-domain',
];
const ETCD_CERT: readonly PhaseFlag[] = [...CERTS, ...ENGINE, 'apiserver-advertise-address', 'node-name'];
const KUBECONFIG: readonly PhaseFlag[] = [
  'apiserver-advertise-address',
  'apiserver-bind-port',
  'cert-dir',
  'control-plane-endpoint',
  'kubeconfig-dir',
  'kubernetes-version',
  'node-name',
];
const MANIFEST: readonly PhaseFlag[] = [
  ...ENGINE,
  'cert-dir',
  'image-repository',
  'kubernetes-version',
  'patches',
];
const ADDON: readonly PhaseFlag[] = [
  ...ENGINE,
  'image-repository',
  'kubeconfig',
  'kubernetes-version',
  'print-manifest',
];
const PREFLIGHT: readonly PhaseFlag[] = ['cri-socket', 'fix', 'ignore-preflight-errors', 'node-name'];
const DISCOVERY: readonly PhaseFlag[] = [
  'discovery-file',
  'discovery-token',
  'discovery-token-ca-cert-hash',
  'discovery-token-unsafe-skip-ca-verification',
  'node-name',
  'tls-bootstrap-token',
  'token',
];
const JOIN_CONTROL_PLANE: readonly PhaseFlag[] = [
  ...DISCOVERY,
  'apiserver-advertise-address',
  'apiserver-bind-port',
  'control-plane',
];
const CLUSTER: readonly PhaseFlag[] = ['kubeconfig'];

function rows(group: string, parts: Readonly<Record<string, readonly [string, readonly PhaseFlag[]]>>) {
  return Object.entries(parts).map(([part, [description, flags]]) => ({
    name: `${group}/${part}`,
    description,
    flags,
  }));
}

/** The commands below `init phase`, in the order in which init runs them. */
export const INIT_PHASE_COMMANDS: readonly PhaseCommandRow[] = [
  {
    name: 'preflight',
    description: 'Run pre-flight checks',
    flags: [...PREFLIGHT, 'apiserver-advertise-address', 'apiserver-bind-port', 'image-repository'],
  },
  { name: 'bundle', description: 'Install the node bundle', flags: [] },
  { name: 'runtime', description: 'Start the container runtime', flags: [] },
  ...rows('certs', {
    ca: ["The cluster's CA", CERTS],
    apiserver: ["The API server's certificate", API_SERVER_CERT],
    'apiserver-kubelet-client': ['The certificate with which the API server reaches nodes', CERTS],
    'front-proxy-ca': ['The CA of the front proxy', CERTS],
    'front-proxy-client': ["The front proxy's certificate", CERTS],
    'etcd-ca': ["etcd's CA", [...CERTS, ...ENGINE]],
    'etcd-server': ["etcd's certificate", ETCD_CERT],
    'etcd-peer': ['The certificate of etcd members among themselves', ETCD_CERT],
    'etcd-healthcheck-client': ["The certificate of etcd's probes", [...CERTS, ...ENGINE]],
    'apiserver-etcd-client': [
      'The certificate with which the API server reaches etcd',
      [...CERTS, ...ENGINE],
    ],
    sa: ['The keys that sign tokens of service accounts', ['cert-dir']],
  }),
  ...rows('kubeconfig', {
    admin: ["The administrator's kubeconfig", KUBECONFIG],
    'super-admin': ['The kubeconfig that no RBAC rule binds', KUBECONFIG],
    kubelet: ["The node agent's kubeconfig", KUBECONFIG],
    'controller-manager': ["The controller manager's kubeconfig", KUBECONFIG],
    scheduler: ["The scheduler's kubeconfig", KUBECONFIG],
  }),
  ...rows('etcd', { local: ['The static pod of etcd', [...MANIFEST, 'node-name']] }),
  ...rows('control-plane', {
    apiserver: [
      'The static pod of the API server',
      [
        ...MANIFEST,
        'apiserver-advertise-address',
        'apiserver-bind-port',
        'apiserver-extra-args',
        'control-plane-endpoint',
        'feature-gates',
        'service-cidr',
      ],
    ],
    'controller-manager': [
      'The static pod of the controller manager',
      [...MANIFEST, 'controller-manager-extra-args', 'pod-network-cidr'],
    ],
    scheduler: ['The static pod of the scheduler', [...MANIFEST, 'scheduler-extra-args']],
  }),
  {
    name: 'kubelet-start',
    description: "Write the node agent's files and start it",
    flags: ['cri-socket', 'image-repository', 'node-name', 'patches'],
  },
  { name: 'wait-control-plane', description: 'Wait for the control plane', flags: ['node-name'] },
  ...rows('upload-config', {
    kubeadm: ["Store the cluster's configuration in the cluster", CLUSTER],
    kubelet: ["Store the agents' configuration in the cluster", CLUSTER],
  }),
  {
    name: 'upload-certs',
    description: "Store the control plane's certificates in the cluster",
    flags: ['cert-dir', 'certificate-key', 'kubeconfig', 'skip-certificate-key-print', 'upload-certs'],
  },
  { name: 'mark-control-plane', description: 'Label and taint the node', flags: ['node-name'] },
  {
    name: 'bootstrap-token',
    description: 'Make the bootstrap token and the rights to join',
    flags: ['kubeconfig', 'skip-token-print', 'token'],
  },
  ...rows('kubelet-finalize', {
    'enable-client-cert-rotation': ["Point kubelet.conf at the agent's own certificate", ['cert-dir']],
  }),
  ...rows('addon', {
    'pod-network': ['The rights of the pod network', ['kubeconfig', 'print-manifest']],
    coredns: ['Cluster DNS', [...ADDON, 'feature-gates', 'patches', 'service-cidr', 'service-dns-domain']],
    'kube-proxy': [
      'The service proxy',
      [
        ...ADDON,
        'apiserver-advertise-address',
        'apiserver-bind-port',
        'control-plane-endpoint',
        'pod-network-cidr',
      ],
    ],
  }),
  { name: 'wait-node', description: 'Wait until the node is Ready', flags: ['kubeconfig', 'node-name'] },
  {
    name: 'show-join-command',
    description: 'Show how to join nodes',
    flags: ['control-plane-endpoint', 'kubeconfig', 'skip-token-print'],
  },
];

/** The commands below `join phase`; those of a further control-plane node need --control-plane. */
export const JOIN_PHASE_COMMANDS: readonly PhaseCommandRow[] = [
  { name: 'preflight', description: 'Run pre-flight checks', flags: [...DISCOVERY, ...PREFLIGHT] },
  {
    name: 'discovery',
    description: 'Verify the cluster by token and CA pin',
    flags: [...DISCOVERY, 'control-plane'],
  },
  { name: 'bundle', description: 'Install the node bundle', flags: DISCOVERY },
  { name: 'runtime', description: 'Start the container runtime', flags: DISCOVERY },
  ...rows('control-plane-prepare', {
    'download-certs': ['The certificates that were uploaded', [...JOIN_CONTROL_PLANE, 'certificate-key']],
    certs: ['The certificates of a further control-plane node', JOIN_CONTROL_PLANE],
    kubeconfig: ['The kubeconfig files of a further control-plane node', JOIN_CONTROL_PLANE],
    'control-plane': ['The static pods of a further control-plane node', [...JOIN_CONTROL_PLANE, 'patches']],
  }),
  { name: 'check-etcd', description: "Look at etcd's members", flags: JOIN_CONTROL_PLANE },
  {
    name: 'kubelet-start',
    description: "Write the node agent's files and start it",
    flags: [...JOIN_CONTROL_PLANE, 'cri-socket', 'patches'],
  },
  { name: 'etcd-join', description: 'Join the etcd cluster', flags: JOIN_CONTROL_PLANE },
  { name: 'kubelet-wait-bootstrap', description: 'Wait for the TLS bootstrap', flags: DISCOVERY },
  ...rows('control-plane-join', {
    'mark-control-plane': ['Label and taint a further control-plane node', JOIN_CONTROL_PLANE],
  }),
  {
    name: 'wait-control-plane',
    description: 'Wait for the components of a further control-plane node',
    flags: JOIN_CONTROL_PLANE,
  },
  { name: 'wait-node', description: 'Wait until the node is Ready', flags: DISCOVERY },
];

/** The commands below `reset phase`. */
export const RESET_PHASE_COMMANDS: readonly PhaseCommandRow[] = [
  {
    name: 'preflight',
    description: 'Ask, and check that a reset is possible',
    flags: ['force', 'ignore-preflight-errors'],
  },
  { name: 'remove-etcd-member', description: 'Leave the etcd cluster', flags: ['kubeconfig'] },
  { name: 'remove-node', description: 'Remove the Node object', flags: ['kubeconfig'] },
  ...rows('cleanup-node', {
    pods: ['Stop the agent, the pods and the runtime', ['cri-socket']],
    network: ['Remove interfaces, routes and rules', []],
    files: ['Remove files and directories', ['cert-dir', 'cleanup-tmp-dir']],
    restore: ['Put back what was replaced and repaired', []],
    compare: ['Compare the machine with what it was', []],
  }),
];
