import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import {
  type Check,
  CONTROL_PLANES,
  errorFinding,
  type Finding,
  isUpstream,
  NODES,
  type Observation,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';
import { readScript } from '../observer.ts';

interface CommandRow {
  readonly command: string;
  /** On Debian. */
  readonly packageName: string;
  readonly engine?: 'embedded' | 'upstream';
}

/** Commands that a node needs. */
const COMMANDS: readonly CommandRow[] = [
  { command: 'losetup', packageName: 'mount' },
  { command: 'mount', packageName: 'mount' },
  { command: 'cp', packageName: 'coreutils' },
  { command: 'umount', packageName: 'mount', engine: 'embedded' },
  { command: 'nft', packageName: 'nftables', engine: 'embedded' },
  { command: 'ip', packageName: 'iproute2', engine: 'embedded' },
  { command: 'nsenter', packageName: 'util-linux', engine: 'embedded' },
  { command: 'unshare', packageName: 'util-linux', engine: 'embedded' },
  { command: 'tar', packageName: 'tar', engine: 'embedded' },
];

/** What must be installed, and what must not be left from earlier. */
export const FILE_CHECKS: readonly Check[] = [
  {
    name: 'FileAvailable',
    scopes: NODES,
    severity: 'error',
    looksAt: {
      embedded:
        'manifests of a control plane that is not ours (init), kubelet.conf, bootstrap-kubelet.conf and the CA of another cluster (join)',
      upstream: 'manifests (init), kubelet.conf, bootstrap-kubelet.conf and ca.crt (join) are absent',
    },
    observe: observeAbsentFiles,
  },
  {
    name: 'DirAvailable',
    scopes: CONTROL_PLANES,
    severity: 'error',
    looksAt: {
      embedded: 'the data directory of a local etcd, when the store is one; it must be absent or empty',
      upstream: 'the data directory of a local etcd is absent or empty',
    },
    observe: observeEmptyDirectories,
  },
  {
    name: 'StoreWithoutCertificates',
    scopes: ['init'],
    severity: 'warning',
    looksAt: {
      embedded: 'objects of an earlier cluster in /var/lib/tkadm/store whose certificates are gone',
      upstream: 'nothing: the store is etcd, see DirAvailable',
    },
    observe: observeStore,
  },
  {
    name: 'FileExisting',
    scopes: NODES,
    severity: 'error',
    looksAt: {
      embedded: `in PATH: ${COMMANDS.filter((row) => row.engine !== 'upstream')
        .map((row) => row.command)
        .join(', ')}`,
      upstream: `in PATH: ${COMMANDS.filter((row) => row.engine !== 'embedded')
        .map((row) => row.command)
        .join(', ')}`,
    },
    observe: observeCommands,
  },
  {
    name: 'StaticPodManifest',
    scopes: ['upgrade'],
    severity: 'error',
    looksAt: 'the manifests of the control plane that is upgraded are there',
    observe: observePresentFiles,
  },
];

async function observeAbsentFiles(host: Host, { absentFiles }: PreflightInput): Promise<Observation> {
  if (absentFiles.length === 0) return undefined;
  const stats = await Promise.all(absentFiles.map((path) => host.stat(path)));
  const isControlPlane = (await host.stat(`${PATHS.manifests}/kube-apiserver.yaml`)) !== undefined;
  return absentFiles
    .filter((_, i) => stats[i] !== undefined)
    .map((path) =>
      errorFinding(
        `FileAvailable-${path.replaceAll('/', '-')}`,
        `"${path}" is there already`,
        path.endsWith('/kubelet.conf')
          ? `this machine is a ${isControlPlane ? 'control-plane ' : ''}node of a cluster, or it was one`
          : 'it is left from an earlier run',
        isControlPlane ? '"tkadm reset -f" gives the machine back, and ends its cluster' : 'tkadm reset -f',
      ),
    );
}

async function observePresentFiles(
  host: Host,
  { presentFiles = [] }: PreflightInput,
): Promise<readonly Finding[]> {
  const stats = await Promise.all(presentFiles.map((path) => host.stat(path)));
  const missing = presentFiles.filter((_, i) => stats[i] === undefined);
  if (missing.length === 0) return [];
  return [
    errorFinding(
      'StaticPodManifest',
      'this machine has no complete control plane',
      `not there: ${missing.join(', ')}`,
      'run the upgrade on a control-plane node',
    ),
  ];
}

async function observeEmptyDirectories(
  host: Host,
  { emptyDirectories = [] }: PreflightInput,
): Promise<Observation> {
  if (emptyDirectories.length === 0) return undefined;
  const lists = await Promise.all(emptyDirectories.map((path) => host.list(path)));
  return emptyDirectories.flatMap((path, i) => {
    const count = lists[i]!.length;
    if (count === 0) return [];
    const name = `DirAvailable-${path.replaceAll('/', '-')}`;
    const evidence = `it has ${count} ${count === 1 ? 'entry' : 'entries'}; another etcd's data may be among them`;
    return [errorFinding(name, `"${path}" is not empty`, evidence, `mv ${path} ${path}.old`)];
  });
}

/** Objects of an earlier cluster would be served with new certificates: tokens and Nodes in them fit no more. */
async function observeStore(host: Host, input: PreflightInput): Promise<Observation> {
  if (isUpstream(input)) return undefined;
  const directory = input.certificates?.certificatesDir ?? '/etc/kubernetes/pki';
  const [store, ca] = await Promise.all([
    host.list('/var/lib/tkadm/store'),
    host.stat(`${directory}/ca.crt`),
  ]);
  if (store.length === 0 || ca) return [];
  return [
    warningFinding(
      'StoreWithoutCertificates',
      'objects of an earlier cluster are there, and its certificates are not',
      `/var/lib/tkadm/store has ${store.join(', ')}; ${directory}/ca.crt is not there`,
      `tkadm reset -f, or restore ${directory}`,
    ),
  ];
}

async function observeCommands(
  host: Host,
  { engine = 'embedded' }: PreflightInput,
): Promise<readonly Finding[]> {
  const rows = COMMANDS.filter((row) => row.engine === undefined || row.engine === engine);
  const script = 'for c; do command -v "$c" >/dev/null || echo "$c"; done';
  const lines = (await readScript(host, script, ...rows.map((row) => row.command))).split('\n');
  const missing = rows.filter((row) => lines.includes(row.command));
  if (missing.length === 0) return [];
  const hasApt = (await host.stat('/usr/bin/apt-get')) !== undefined;
  return missing.map(({ command, packageName }) => ({
    ...errorFinding(
      `FileExisting-${command}`,
      `the command "${command}" is missing`,
      'it is not in PATH',
      `apt-get install -y --no-install-recommends ${packageName}`,
    ),
    ...(hasApt
      ? {
          repair: [['sh', '-c', INSTALL_SCRIPT, 'sh', packageName]],
          alters: [{ kind: 'packages' as const, wanted: packageName }],
        }
      : {}),
  }));
}

/** Installs from the known package lists; fetches new lists when that fails. */
const INSTALL_SCRIPT =
  'export DEBIAN_FRONTEND=noninteractive; set -- apt-get install -y --no-install-recommends "$1"; ' +
  '"$@" || { apt-get update && "$@"; }';
