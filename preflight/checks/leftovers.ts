import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import {
  type Check,
  errorFinding,
  type Finding,
  isUpstream,
  NODES,
  type Observation,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';
import { formatProcess, listProcesses } from '../processes.ts';

interface ToolRow {
  readonly tool: string;
  /** Beginnings of its processes' names. */
  readonly processes: readonly string[];
  /** Where it keeps what outlives it. */
  readonly directories: readonly string[];
  readonly fix: string;
}

/** Other products that make a cluster of this machine. */
const OTHER_TOOLS: readonly ToolRow[] = [
  {
    tool: 'k3s',
    processes: ['k3s'],
    directories: ['/var/lib/rancher/k3s', '/etc/rancher/k3s'],
    fix: '/usr/local/bin/k3s-uninstall.sh, or k3s-agent-uninstall.sh',
  },
  {
    tool: 'rke2',
    processes: ['rke2'],
    directories: ['/var/lib/rancher/rke2', '/etc/rancher/rke2'],
    fix: '/usr/local/bin/rke2-uninstall.sh',
  },
  {
    tool: 'k0s',
    processes: ['k0s'],
    directories: ['/var/lib/k0s', '/etc/k0s'],
    fix: 'k0s stop && k0s reset',
  },
  {
    tool: 'microk8s',
    processes: ['kubelite'],
    directories: ['/var/snap/microk8s'],
    fix: 'snap remove --purge microk8s',
  },
];

/** Daemons of a kubeadm cluster. */
const KUBE_PROCESSES = ['kubelet', 'kube-apiserver', 'kube-controller', 'kube-scheduler', 'kube-proxy'];

/** What other products, or an earlier cluster, have left running or lying about. */
export const LEFTOVER_CHECKS: readonly Check[] = [
  {
    name: 'OtherCluster',
    scopes: [...NODES, 'reset'],
    severity: 'error',
    looksAt: {
      embedded:
        'processes and directories of k3s, rke2, k0s and microk8s; a kubelet or control plane of somebody else; for reset: only what runs',
      upstream: 'processes and directories of k3s, rke2, k0s and microk8s; a control plane that runs',
    },
    observe: (host, input) =>
      input.scope === 'reset' ? observeEndangered(host) : observeOtherClusters(host, input),
  },
  {
    name: 'CNIConfig',
    scopes: NODES,
    severity: 'warning',
    looksAt: {
      embedded: `${PATHS.cniConfig}: a network of another product is used instead of the built-in one`,
      upstream: `${PATHS.cniConfig}: a network that is left from an earlier cluster`,
    },
    observe: observeCniConfig,
  },
  {
    name: 'SELinux',
    scopes: NODES,
    severity: 'warning',
    looksAt: {
      embedded: 'SELinux is enforcing: the embedded runtime sets no labels',
      upstream: 'nothing: the container runtime sets labels',
    },
    observe: observeSelinux,
  },
];

async function observeOtherClusters(host: Host, input: PreflightInput): Promise<readonly Finding[]> {
  const processes = await listProcesses(host);
  const tools = await Promise.all(
    OTHER_TOOLS.map(async (row) => {
      const running = processes.filter((p) => row.processes.some((name) => p.name.startsWith(name)));
      const stats = await Promise.all(row.directories.map((path) => host.stat(path)));
      const left = row.directories.filter((_, i) => stats[i] !== undefined);
      if (running.length === 0 && left.length === 0) return [];
      const evidence = [...running.map(formatProcess), ...left.map((path) => `"${path}" is there`)].join(
        ', ',
      );
      const reason = `${row.tool} ${running.length > 0 ? 'runs on' : 'was on'} this machine`;
      return [
        running.length > 0
          ? errorFinding('OtherCluster', reason, evidence, row.fix)
          : warningFinding('OtherCluster', reason, evidence, row.fix),
      ];
    }),
  );
  const foreign = processes
    .filter((row) => KUBE_PROCESSES.some((name) => row.name.startsWith(name)))
    // The kubelet's unit restarts until the cluster's files are there, which is how kubeadm's packages are.
    .filter((row) => !(isUpstream(input) && row.name === 'kubelet'));
  if (foreign.length === 0) return tools.flat();
  const kubelet = foreign.find((row) => row.name === 'kubelet');
  const evidence = foreign.map(formatProcess).join(', ');
  return [
    ...tools.flat(),
    kubelet
      ? errorFinding(
          'OtherCluster',
          `a kubelet runs: it and the node agent would manage the same "${PATHS.kubelet}"`,
          evidence,
          'systemctl disable --now kubelet; kubeadm reset',
        )
      : warningFinding('OtherCluster', 'programs of another cluster run here', evidence, 'kubeadm reset'),
  ];
}

/** Whose pods' logs, mounts and cgroups a reset would take away: they are where those of our own pods are. */
async function observeEndangered(host: Host): Promise<readonly Finding[]> {
  const processes = await listProcesses(host);
  const rows = [
    ...OTHER_TOOLS,
    { tool: 'a kubelet', processes: ['kubelet'], fix: 'kubeadm reset, or: systemctl stop kubelet' },
  ];
  return rows.flatMap(({ tool, processes: names, fix }) => {
    const running = processes.filter((p) => names.some((name) => p.name.startsWith(name)));
    if (running.length === 0) return [];
    const reason = `${tool} runs on this machine: its pods' logs, mounts and cgroups would be removed with ours`;
    return [errorFinding('OtherCluster', reason, running.map(formatProcess).join(', '), fix)];
  });
}

/** A network configuration of another product comes before ours, or is left from an earlier cluster. */
async function observeCniConfig(host: Host, input: PreflightInput): Promise<readonly Finding[]> {
  const names = await host.list(PATHS.cniConfig);
  const others = names.filter((name) => /\.(conf|conflist|json)$/.test(name) && !name.includes('tkadm'));
  if (others.length === 0) return [];
  const reason = isUpstream(input)
    ? 'a pod network is configured before the cluster is there'
    : 'another pod network is configured, and it is used instead of the built-in one';
  return [
    warningFinding(
      'CNIConfig',
      reason,
      `${PATHS.cniConfig} has ${others.join(', ')}`,
      `mv ${others.map((name) => `${PATHS.cniConfig}/${name}`).join(' ')} /root/`,
    ),
  ];
}

async function observeSelinux(host: Host, input: PreflightInput): Promise<Observation> {
  if (isUpstream(input)) return undefined;
  if ((await host.readFile('/sys/fs/selinux/enforce'))?.trim() !== '1') return [];
  return [
    warningFinding(
      'SELinux',
      'SELinux is enforcing, and the embedded runtime sets no labels',
      '/sys/fs/selinux/enforce is 1',
      'setenforce 0',
    ),
  ];
}
