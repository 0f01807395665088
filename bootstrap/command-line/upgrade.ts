import { CONNECTION_FLAGS } from './cluster.ts';
import type { CommandRow } from './command.ts';
import { described, type Flag } from './flag.ts';
import { FLAGS, flags } from './flags.ts';

const CONFIG = described(FLAGS.config, 'kubeadm.k8s.io/v1beta4 UpgradeConfiguration, "-" for standard input');
const COMMON: readonly Flag[] = [CONFIG, ...flags('kubeconfig')];
const RUN: readonly Flag[] = [
  ...COMMON,
  ...flags(
    'certificate-renewal',
    'etcd-upgrade',
    'patches',
    'ignore-preflight-errors',
    'skip-phases',
    'dry-run',
    'output',
  ),
];
const NODE_KUBECONFIG = described(
  FLAGS.kubeconfig,
  'how to reach the cluster (default: admin.conf, on a worker kubelet.conf)',
);
const VERSIONS = flags('allow-experimental-upgrades', 'allow-release-candidate-upgrades');

/** Bringing a cluster to the version of this package. */
export const UPGRADE_COMMANDS: readonly CommandRow[] = [
  {
    usage: 'upgrade',
    description: 'Bring a cluster to the version of this package',
    commands: [
      {
        usage: 'plan [version]',
        description: 'Show what runs and what this package has',
        flags: [
          ...COMMON,
          ...VERSIONS,
          ...flags('etcd-upgrade', 'ignore-preflight-errors', 'print-config', 'output'),
        ],
        run: async (context, options, version) =>
          (await import('../commands/upgrade-plan.ts')).runUpgradePlan(context, version, options),
      },
      {
        usage: 'diff [version]',
        description: 'Show what an upgrade would change in the manifests of the control plane',
        flags: [
          ...COMMON,
          ['-c, --context-lines <count>', 'lines around each change (default: 3)'],
          ...flags('patches', 'output'),
        ],
        run: async (context, options, version) =>
          (await import('../commands/upgrade-diff.ts')).runUpgradeDiff(context, version, options),
      },
      {
        usage: 'apply [version]',
        description: 'Upgrade the control plane, on its node (default: the version of this package)',
        flags: [
          ...RUN,
          ...VERSIONS,
          described(FLAGS.force, 'upgrade although something speaks against it, and do not ask'),
          ['-y, --yes', 'do not ask'],
          FLAGS['print-config'],
        ],
        run: async (context, options, version) =>
          (await import('../commands/upgrade-apply.ts')).runUpgradeApply(context, version, options),
      },
      {
        usage: 'node [machines...]',
        description: 'Upgrade this node, after the control plane; or machines over SSH, one after the other',
        flags: [...RUN.filter((row) => row !== FLAGS.kubeconfig), NODE_KUBECONFIG, ...CONNECTION_FLAGS],
        run: async (context, options, machines: readonly string[]) => {
          if (machines.length > 0)
            return (await import('../commands/upgrade-ssh.ts')).runUpgradeOverSsh(context, machines, options);
          return (await import('../commands/upgrade-apply.ts')).runUpgradeNode(context, options);
        },
      },
    ],
  },
];
