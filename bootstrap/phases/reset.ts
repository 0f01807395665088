import { CERTIFICATES } from '../../pki/certificates.ts';
import type { PreflightInput } from '../../preflight/finding.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import {
  buildServiceFile,
  detectInitSystem,
  isServiceRunning,
  SERVICES,
} from '../../runtime/host/services.ts';
import type { ResetConfig } from '../config/types.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';
import { planChecks } from './preflight.ts';

export interface ResetContext {
  readonly host: Host;
  readonly config: ResetConfig;
  /** Name of this node and the administrator's kubeconfig, when the cluster can be told. */
  readonly nodeName: string;
  readonly kubeconfig: string | undefined;
  readonly warn: (message: string) => void;
}

const CONFIG_FILES = [
  'admin.conf',
  'super-admin.conf',
  'kubelet.conf',
  'bootstrap-kubelet.conf',
  'controller-manager.conf',
  'scheduler.conf',
].flatMap((name) => [name, `${name}.csr`].map((file) => `${PATHS.kubernetes}/${file}`));

/** nftables tables of the service proxy, of the bridge plugin and of `tkadm ctr`. */
const TABLES = ['kube-proxy', 'tkadm-bridge', 'tkadm-ctr0'];
/** Bridges of pods, and of `tkadm ctr`. */
const BRIDGES = ['tkadm0', 'tkadm-ctr0'];
const CNI_FILE = '10-tkadm.conflist';
/** Parent cgroups of all pods, as the kubelet's, and of image builds and monitors. */
const CGROUPS = ['kubepods', 'tkadm'];
/** The mark on routes to other nodes' pods: ip-route(8) `proto`. */
const ROUTE_PROTOCOL = '116';

/** Directories that only tkadm fills, in the order in which they are removed. */
const STATE_DIRS = [PATHS.manifests, PATHS.podLogs, PATHS.containerLogs, PATHS.logs, PATHS.run, PATHS.state];

/** The phases of reset, named as kubeadm's; `remove-node` and the parts of `cleanup-node` are tkadm's own. */
export const RESET_PHASES: readonly Phase<ResetContext>[] = [
  {
    name: 'preflight',
    summary: 'Check that a reset is possible',
    unchanged: 'Passed',
    async plan({ config, host, nodeName, warn }) {
      refuseUnmountFlags(config.unmountFlags);
      return planChecks(host, buildResetInput(config, nodeName), { warn });
    },
  },
  {
    name: 'remove-etcd-member',
    summary: 'Leave the etcd cluster',
    after: ['preflight'],
    // Whatever is in /var/lib/etcd belongs to somebody else.
    idle: () => 'this node runs no etcd of tkadm; /var/lib/etcd is left as it is',
    plan: async () => [],
  },
  {
    name: 'remove-node',
    summary: 'Remove the Node object',
    after: ['preflight'],
    plan: async ({ nodeName, kubeconfig }) =>
      kubeconfig === undefined ? [] : [{ kind: 'delete-node', nodeName, kubeconfig }],
  },
  {
    name: 'cleanup-node/pods',
    summary: 'Stop the agent, the pods and the runtime',
    after: ['remove-node'],
    plan: planStop,
  },
  {
    name: 'cleanup-node/network',
    summary: 'Remove interfaces, routes and rules',
    after: ['cleanup-node/pods'],
    plan: planNetwork,
  },
  {
    name: 'cleanup-node/files',
    summary: 'Remove files and directories',
    after: ['cleanup-node/network'],
    plan: planFiles,
  },
];

/** What the checks of a reset look for. */
function buildResetInput({ ignorePreflightErrors, isDryRun }: ResetConfig, nodeName: string): PreflightInput {
  return {
    scope: 'reset',
    nodeName,
    ports: [],
    absentFiles: [],
    podCidrs: [],
    serviceCidrs: [],
    ignored: ignorePreflightErrors,
    isDryRun,
  };
}

async function planStop({ host, config }: ResetContext): Promise<readonly Action[]> {
  const initSystem = await detectInitSystem(host);
  const actions: Action[] = [];
  if (await isServiceRunning(host, 'tkadm-agent', initSystem))
    actions.push({ kind: 'stop-service', name: 'tkadm-agent' });
  const socketPath = await findOtherSocket(host, config);
  if (socketPath !== undefined) actions.push({ kind: 'remove-sandboxes', socketPath });
  const isRuntimeRunning = await isServiceRunning(host, 'tkadm-runtime', initSystem);
  // A runtime that was killed has left its containers, which only a runtime can end.
  const hasOrphans = !isRuntimeRunning && (await host.stat(PATHS.runtimeSocket)) !== undefined;
  if (hasOrphans) actions.push({ kind: 'start-service', name: 'tkadm-runtime' });
  if (isRuntimeRunning || hasOrphans)
    actions.push({ kind: 'remove-sandboxes' }, { kind: 'stop-service', name: 'tkadm-runtime' });
  for (const service of SERVICES) {
    const { path } = buildServiceFile(service, initSystem);
    if (initSystem !== 'none' && (await host.stat(path))) actions.push({ kind: 'remove', path });
  }
  if (initSystem === 'systemd' && actions.some((action) => action.kind === 'remove')) {
    actions.push({ kind: 'run', argv: ['systemctl', 'daemon-reload'], summary: 'reload systemd' });
  }
  return actions;
}

/** The socket of a runtime that is not ours: the user's, else the one that the agent was given; it must be there. */
async function findOtherSocket(host: Host, { criSocket }: ResetConfig): Promise<string | undefined> {
  const instance = (await host.readFile(`${PATHS.kubelet}/instance-config.yaml`)) ?? '';
  const given = /^containerRuntimeEndpoint: "?(\S+?)"?$/m.exec(instance)?.[1];
  const isOwn = (socket: string) => socket === `unix://${PATHS.runtimeSocket}`;
  const socket = isOwn(criSocket) ? given : criSocket;
  if (socket === undefined || isOwn(socket)) return undefined;
  const path = socket.replace(/^unix:\/\//, '');
  return (await host.stat(path)) ? path : undefined;
}

async function planNetwork({ host }: ResetContext): Promise<readonly Action[]> {
  const actions: Action[] = [];
  const tables = (await host.run(['nft', 'list', 'tables', 'ip'])).stdout;
  for (const table of TABLES) {
    if (!tables.split('\n').includes(`table ip ${table}`)) continue;
    actions.push({
      kind: 'run',
      argv: ['nft', 'delete', 'table', 'ip', table],
      summary: `delete nftables table ip ${table}`,
    });
  }
  for (const bridge of BRIDGES) {
    if (!(await host.stat(`/sys/class/net/${bridge}`))) continue;
    actions.push({ kind: 'run', argv: ['ip', 'link', 'del', bridge], summary: `delete interface ${bridge}` });
  }
  const routes = (await host.run(['ip', 'route', 'show', 'proto', ROUTE_PROTOCOL])).stdout.trim();
  if (routes !== '') {
    actions.push({
      kind: 'run',
      argv: ['ip', 'route', 'flush', 'proto', ROUTE_PROTOCOL],
      summary: 'delete routes to other nodes',
    });
  }
  const cniFiles = await host.list(PATHS.cniConfig);
  if (cniFiles.includes(CNI_FILE)) {
    const path = cniFiles.length === 1 ? PATHS.cniConfig : `${PATHS.cniConfig}/${CNI_FILE}`;
    actions.push({ kind: 'remove', path });
  }
  return actions;
}

async function planFiles({ host, config }: ResetContext): Promise<readonly Action[]> {
  const actions: Action[] = [];
  const kubeletDir = await resolveLink(host, PATHS.kubelet);
  for (const path of await mountPoints(host, kubeletDir)) {
    const argv = ['umount', ...umountOptions(config.unmountFlags), path];
    actions.push({ kind: 'run', argv, summary: `unmount ${path}` });
  }
  const kubeletEntries = (await host.list(kubeletDir)).map((name) => `${kubeletDir}/${name}`);
  const stateDirs = [];
  for (const path of STATE_DIRS) {
    // A mount point is somebody's disk: it is emptied, not removed.
    if (!(await isMountPoint(host, path))) stateDirs.push(path);
    else stateDirs.push(...(await host.list(path)).map((name) => `${path}/${name}`));
  }
  actions.push(...(await planCgroups(host)));
  const certificates = await certificatePaths(host, config);
  const temporary = config.shouldCleanTmpDir ? [`${PATHS.kubernetes}/tmp`] : [];
  for (const path of [...CONFIG_FILES, ...kubeletEntries, ...certificates, ...temporary, ...stateDirs]) {
    if (await host.stat(path)) actions.push({ kind: 'remove', path });
  }
  return actions;
}

/**
 * What goes of the certificates: the default directory as a whole; of another one, which may be shared, only the
 * files that tkadm writes. The directory is the configuration's, else the one that the API server runs with.
 */
async function certificatePaths(host: Host, { certificatesDir }: ResetConfig): Promise<readonly string[]> {
  const directory = certificatesDir ?? (await findCertificatesDir(host)) ?? PATHS.pki;
  if (directory === PATHS.pki) return [directory];
  const names = [
    ...CERTIFICATES.flatMap(({ baseName }) => [`${baseName}.crt`, `${baseName}.key`]),
    'sa.key',
    'sa.pub',
  ];
  const own = names.map((name) => `${directory}/${name}`);
  const etcdDir = `${directory}/etcd`;
  const foreign = (await host.list(etcdDir)).filter((name) => !names.includes(`etcd/${name}`));
  return foreign.length > 0 ? own : [...own, etcdDir];
}

async function findCertificatesDir(host: Host): Promise<string | undefined> {
  const manifest = await host.readFile(`${PATHS.manifests}/kube-apiserver.yaml`);
  return /--client-ca-file=(\S+)\/ca\.crt/.exec(manifest ?? '')?.[1];
}

/** umount(8)'s options for flags of umount2(2). A mount point is no link, so that there is nothing to follow. */
const UNMOUNT_FLAGS: Readonly<Record<string, readonly string[]>> = {
  MNT_FORCE: ['-f'],
  MNT_DETACH: ['-l'],
  UMOUNT_NOFOLLOW: [],
};

function umountOptions(flags: readonly string[]): readonly string[] {
  return flags.flatMap((flag) => UNMOUNT_FLAGS[flag] ?? []);
}

/** @throws UNSUPPORTED */
function refuseUnmountFlags(flags: readonly string[]): void {
  const unsupported = flags.find((flag) => !UNMOUNT_FLAGS[flag]);
  if (unsupported === undefined) return;
  throw new TkadmError(
    'UNSUPPORTED',
    `Cannot unmount with flag "${unsupported}": it is none of ${Object.keys(UNMOUNT_FLAGS).join(', ')}`,
  );
}

/** Where a directory is that may be a link; the path itself when nothing is there. */
async function resolveLink(host: Host, path: string): Promise<string> {
  if ((await host.stat(path))?.kind !== 'symlink') return path;
  return (await host.run(['readlink', '-f', path])).stdout.trim() || path;
}

/** The cgroups in every hierarchy; they are empty once the pods are gone. */
async function planCgroups(host: Host): Promise<readonly Action[]> {
  const root = '/sys/fs/cgroup';
  const candidates = [root, ...(await host.list(root)).map((name) => `${root}/${name}`)].flatMap((path) =>
    CGROUPS.map((name) => `${path}/${name}`),
  );
  const found: string[] = [];
  for (const path of candidates) if (await host.stat(path)) found.push(path);
  return found.map((path) => ({
    kind: 'run',
    argv: ['find', path, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', ';'],
    summary: `remove cgroup ${path}`,
  }));
}

async function mountPoints(host: Host, prefix: string): Promise<readonly string[]> {
  const text = (await host.readFile('/proc/self/mountinfo')) ?? '';
  return text
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(`${prefix}/`))
    .sort((a, b) => b.length - a.length);
}

async function isMountPoint(host: Host, path: string): Promise<boolean> {
  const text = (await host.readFile('/proc/self/mountinfo')) ?? '';
  return text.split('\n').some((line) => line.split(' ')[4] === path);
}
