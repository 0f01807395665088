import type { CommandRow } from './command.ts';
import { described, type Flag, REPEAT } from './flag.ts';
import { FLAGS, flags } from './flags.ts';

/** Flags that init and join share. */
const COMMON = flags(
  'config',
  'node-name',
  'ignore-preflight-errors',
  'patches',
  'skip-phases',
  'fix',
  'dry-run',
  'output',
);

/** The flags of `init`, which its checks alone have as well. */
export const INIT_FLAGS: readonly Flag[] = [
  ...COMMON,
  ...flags(
    'apiserver-advertise-address',
    'apiserver-bind-port',
    'apiserver-cert-extra-sans',
    'cert-dir',
    'control-plane-endpoint',
    'cri-socket',
    'engine',
    'feature-gates',
    'image-repository',
    'kubernetes-version',
    'pod-network-cidr',
    'service-cidr',
    'service-dns-domain',
    'store',
  ),
  described(FLAGS.token, 'bootstrap token (default: a new one)'),
  ['--token-ttl <duration>', 'life of the token, 0 for ever (default: 24h)'],
  ...flags('skip-token-print', 'upload-certs', 'certificate-key', 'skip-certificate-key-print'),
];

/** The flags by which `join` finds its cluster, which its checks alone have as well. */
export const JOIN_FLAGS: readonly Flag[] = [
  ...COMMON,
  ...flags(
    'token',
    'discovery-token',
    'tls-bootstrap-token',
    'discovery-token-ca-cert-hash',
    'discovery-token-unsafe-skip-ca-verification',
    'discovery-file',
  ),
];

/** How machines are reached over SSH. */
export const CONNECTION_FLAGS: readonly Flag[] = [
  ['--ssh-user <name>', 'user of SSH addresses without one (default: that of ssh_config, else root)'],
  ['--ssh-identity <file>', 'private key file', REPEAT],
  [
    '--ssh-host-keys <policy>',
    'host keys that known_hosts does not hold (default: that of ssh_config, else ask at a terminal)',
    { values: ['strict', 'ask', 'accept-new'] },
  ],
  ['--ssh-fingerprint <SHA256:...>', 'the host key to take, whatever known_hosts holds'],
  ['--ssh-jump <hosts>', 'jump hosts, [user@]host[:port] with commas between, or "none"'],
  [
    '--ssh-become <program>',
    "how a user other than root gets to be root's (default: auto, what works)",
    { values: ['auto', 'sudo', 'doas', 'none'] },
  ],
  ['--ssh-config <file>', 'in place of ~/.ssh/config and /etc/ssh/ssh_config, or "none"'],
];

const SSH_FLAGS: readonly Flag[] = [
  ['--ssh <target>', 'machine to join over SSH, user@host[:port] or a name of ssh_config', REPEAT],
  ...CONNECTION_FLAGS,
  ['--api-server <host:port>', 'address under which the new node reaches the API server'],
];

const CONTROL_PLANE_FLAGS: readonly Flag[] = [
  described(FLAGS['control-plane'], 'become a control-plane node (of a cluster with etcd)'),
  described(FLAGS['apiserver-advertise-address'], 'with --control-plane: address of its API server'),
  described(FLAGS['apiserver-bind-port'], 'with --control-plane: port of its API server'),
  described(FLAGS['certificate-key'], 'with --control-plane: key of the uploaded certificates'),
];

/** Making, growing and undoing a cluster. */
export const CLUSTER_COMMANDS: readonly CommandRow[] = [
  {
    usage: 'init',
    description: 'Make this machine a one-node cluster',
    flags: INIT_FLAGS,
    run: async (context, options) => (await import('../commands/init.ts')).runInit(context, options),
  },
  {
    usage: 'join [addresses...]',
    description:
      'Add a node: this machine (address of the API server), or machines over SSH (their addresses)',
    flags: [...JOIN_FLAGS, ...SSH_FLAGS, FLAGS['cri-socket'], ...CONTROL_PLANE_FLAGS],
    run: async (context, options, addresses) =>
      (await import('../commands/join.ts')).runJoin(context, addresses, options),
  },
  {
    usage: 'apply',
    description: 'Make the machines of a file one cluster, or the cluster what the file says',
    flags: [
      [
        '-f, --file <file>',
        'tkadm.io/v1alpha1 Cluster, and kubeadm documents beside it; "-" for standard input',
      ],
      ['--plan', 'show for each machine what would be changed, touch nothing'],
      ['--prune', 'drain and reset the machines of nodes that the file does not name'],
      ['-y, --yes', 'do not ask before --prune'],
      ['--concurrency <number>', 'machines that are worked on at one time (default: 32)'],
      ['--drain-timeout <duration>', 'how long --prune waits for the pods of a node (default: 5m)'],
      [
        '--kubeconfig <file>',
        "where the administrator's kubeconfig is kept (default: $KUBECONFIG, else NAME.kubeconfig)",
      ],
      ['--print-example', 'print a file with every field'],
      ...CONNECTION_FLAGS,
      ...flags('ignore-preflight-errors', 'output'),
    ],
    run: async (context, options) => (await import('../commands/apply.ts')).runApply(context, options),
  },
  {
    usage: 'reset',
    description: 'Undo init or join on this machine',
    flags: [
      described(FLAGS.config, 'kubeadm.k8s.io/v1beta4 ResetConfiguration, "-" for standard input'),
      FLAGS.force,
      described(FLAGS['cert-dir'], 'where certificates are kept (default: where the API server has them)'),
      ...flags(
        'cleanup-tmp-dir',
        'cri-socket',
        'ignore-preflight-errors',
        'skip-phases',
        'dry-run',
        'kubeconfig',
        'output',
      ),
    ],
    run: async (context, options) => (await import('../commands/reset.ts')).runReset(context, options),
  },
  {
    usage: 'why [subject]',
    description: 'Say what is wrong with the cluster, node/NAME or pod/NAMESPACE/NAME, and how to mend it',
    flags: [
      ...flags('kubeconfig', 'output'),
      ['--no-ssh', 'do not look at other machines over SSH'],
      ...CONNECTION_FLAGS,
    ],
    run: async (context, options, subject) =>
      (await import('../commands/why.ts')).runWhy(context, options, subject),
  },
  {
    usage: 'status',
    description: 'Show the cluster at a glance',
    flags: [
      ...flags('kubeconfig', 'output'),
      ['-w, --watch', 'go on and show what changes'],
      ['--interval <seconds>', 'time between two looks with --watch (default: 2)'],
    ],
    run: async (context, options) => (await import('../commands/status.ts')).runStatus(context, options),
  },
];
