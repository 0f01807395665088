import { type Flag, LIST, REPEAT } from './flag.ts';

/** Flags that several commands and phases have, by their names: each is described here alone. */
export const FLAGS = {
  config: ['--config <file>', 'kubeadm.k8s.io/v1beta4 documents, "-" for standard input'],
  'dry-run': ['--dry-run', 'show what would be done, change nothing'],
  output: ['-o, --output <format>', 'output format', { choices: ['text', 'json', 'yaml'] }],
  kubeconfig: ['--kubeconfig <file>', 'how to reach the cluster (default: /etc/kubernetes/admin.conf)'],
  'kubeconfig-dir': ['--kubeconfig-dir <dir>', 'where kubeconfig files are kept (default: /etc/kubernetes)'],
  'cert-dir': ['--cert-dir <dir>', 'where certificates are kept (default: /etc/kubernetes/pki)'],
  'node-name': ['--node-name <name>', 'name of this node (default: the hostname)'],
  'cri-socket': [
    '--cri-socket <socket>',
    'CRI socket of the container runtime (default: that of this package)',
  ],
  patches: ['--patches <dir>', 'directory of patches, files named target[suffix][+type].json|yaml'],
  fix: ['--fix', 'repair what preflight finds, where that is possible'],
  'ignore-preflight-errors': [
    '--ignore-preflight-errors <names>',
    'checks whose errors are shown as warnings, or "all"',
    LIST,
  ],
  'skip-phases': ['--skip-phases <names>', 'phases to leave out', LIST],
  'apiserver-advertise-address': [
    '--apiserver-advertise-address <ip>',
    'address at which the API server is reached',
  ],
  'apiserver-bind-port': ['--apiserver-bind-port <port>', 'port of the API server (default: 6443)'],
  'apiserver-cert-extra-sans': [
    '--apiserver-cert-extra-sans <names>',
    'further names and addresses in its certificate',
    LIST,
  ],
  'control-plane': ['--control-plane', 'join as a control-plane node'],
  'control-plane-endpoint': ['--control-plane-endpoint <host[:port]>', 'stable address of the control plane'],
  'apiserver-extra-args': ['--apiserver-extra-args <name=value>', 'further arguments', REPEAT],
  'controller-manager-extra-args': [
    '--controller-manager-extra-args <name=value>',
    'further arguments',
    REPEAT,
  ],
  'scheduler-extra-args': ['--scheduler-extra-args <name=value>', 'further arguments', REPEAT],
  engine: [
    '--engine <name>',
    'embedded: the programs of this package; upstream: the images of registry.k8s.io',
  ],
  store: ['--store <name>', 'embedded, or etcd'],
  'feature-gates': ['--feature-gates <gates>', 'name=true|false, ...', LIST],
  'image-repository': ['--image-repository <name>', 'registry of the control plane images'],
  'kubernetes-version': ['--kubernetes-version <version>', 'Kubernetes version'],
  'pod-network-cidr': ['--pod-network-cidr <cidr>', 'addresses of pods (default: 10.244.0.0/16)'],
  'service-cidr': ['--service-cidr <cidr>', 'addresses of Services (default: 10.96.0.0/12)'],
  'service-dns-domain': ['--service-dns-domain <name>', 'DNS domain of Services (default: cluster.local)'],
  'print-manifest': ['--print-manifest', 'print the objects as YAML, do nothing else'],
  'upload-certs': ['--upload-certs', 'keep the CAs and keys, encrypted, in the cluster for two hours'],
  'certificate-key': [
    '--certificate-key <key>',
    'key of --upload-certs, 32 bytes in hexadecimal (default: a new one)',
  ],
  'skip-certificate-key-print': ['--skip-certificate-key-print', 'do not print that key'],
  'skip-token-print': ['--skip-token-print', 'do not print the token'],
  token: ['--token <token>', 'bootstrap token, for discovery and TLS bootstrap'],
  'discovery-token': ['--discovery-token <token>', 'bootstrap token for discovery'],
  'tls-bootstrap-token': ['--tls-bootstrap-token <token>', 'bootstrap token for TLS bootstrap'],
  'discovery-token-ca-cert-hash': [
    '--discovery-token-ca-cert-hash <pin>',
    'pin of the CA, "sha256:HEX"',
    LIST,
  ],
  'discovery-token-unsafe-skip-ca-verification': [
    '--discovery-token-unsafe-skip-ca-verification',
    'trust the CA that the token discovers',
  ],
  'discovery-file': ['--discovery-file <file>', 'kubeconfig from which the cluster is known'],
  'cleanup-tmp-dir': ['--cleanup-tmp-dir', 'remove /etc/kubernetes/tmp too'],
  'certificate-renewal': ['--certificate-renewal [bool]', 'renew what a component uses (default: true)'],
  'etcd-upgrade': ['--etcd-upgrade [bool]', 'upgrade an etcd of this cluster too (default: true)'],
  'allow-experimental-upgrades': ['--allow-experimental-upgrades', 'take alpha and beta versions'],
  'allow-release-candidate-upgrades': ['--allow-release-candidate-upgrades', 'take release candidates'],
  'print-config': ['--print-config', "print the cluster's stored configuration first"],
  force: ['-f, --force', 'do not ask'],
} as const satisfies Readonly<Record<string, Flag>>;

export type FlagName = keyof typeof FLAGS;

/** Rows of the table. */
export function flags(...names: readonly FlagName[]): readonly Flag[] {
  return names.map((name) => FLAGS[name]);
}
