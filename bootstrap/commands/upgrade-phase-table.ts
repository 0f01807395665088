import type { FlagName } from '../command-line/flags.ts';
import type { PhaseCommandRow } from './phase-table.ts';

const CLUSTER: readonly FlagName[] = ['kubeconfig'];
const SWAP: readonly FlagName[] = [...CLUSTER, 'certificate-renewal', 'etcd-upgrade', 'patches'];

const PREPARE: readonly PhaseCommandRow[] = [
  {
    name: 'preflight',
    description: 'Run pre-flight checks',
    flags: [...CLUSTER, 'ignore-preflight-errors', 'patches'],
  },
  { name: 'bundle', description: 'Install the node bundle beside the one in use', flags: CLUSTER },
  { name: 'runtime', description: 'Start the container runtime from it', flags: CLUSTER },
  {
    name: 'control-plane',
    description: "Swap this node's control plane, a component after the other",
    flags: SWAP,
  },
];
const KUBECONFIG: PhaseCommandRow = {
  name: 'kubeconfig',
  description: 'Generate kubeconfig files that are not there',
  flags: CLUSTER,
};
const AGENT: PhaseCommandRow = {
  name: 'kubelet-config',
  description: "Write the node agent's configuration and start it from the new bundle",
  flags: [...CLUSTER, 'patches'],
};
const ADDONS: readonly PhaseCommandRow[] = [
  { name: 'addon/pod-network', description: 'The rights of the pod network', flags: CLUSTER },
  { name: 'addon/coredns', description: 'Cluster DNS', flags: [...CLUSTER, 'patches'] },
  { name: 'addon/kube-proxy', description: 'The service proxy', flags: CLUSTER },
];
const FINISH: readonly PhaseCommandRow[] = [
  { name: 'wait-node', description: 'Wait until the node is Ready in its new version', flags: CLUSTER },
  {
    name: 'post-upgrade/addon-pods',
    description: "Start this node's add-on pods from the new bundle",
    flags: CLUSTER,
  },
  {
    name: 'post-upgrade/old-bundles',
    description: 'Remove bundles that nothing runs from, and what was kept for a roll-back',
    flags: CLUSTER,
  },
];

/** The commands below `upgrade apply phase`. */
export const UPGRADE_APPLY_PHASE_COMMANDS: readonly PhaseCommandRow[] = [
  ...PREPARE,
  {
    name: 'upload-config/kubeadm',
    description: 'Store the ClusterConfiguration in the cluster',
    flags: CLUSTER,
  },
  {
    name: 'upload-config/kubelet',
    description: 'Store the KubeletConfiguration in the cluster',
    flags: CLUSTER,
  },
  KUBECONFIG,
  AGENT,
  {
    name: 'bootstrap-token',
    description: 'Bring the rights of joining nodes up to date',
    flags: CLUSTER,
  },
  ...ADDONS,
  ...FINISH,
];

/** The commands below `upgrade node phase`. */
export const UPGRADE_NODE_PHASE_COMMANDS: readonly PhaseCommandRow[] = [
  ...PREPARE,
  KUBECONFIG,
  AGENT,
  ...ADDONS,
  ...FINISH,
];
