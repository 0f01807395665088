import type { Host } from '../../runtime/base/host.ts';
import {
  BOTH,
  type Check,
  errorFinding,
  type Finding,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';

/** Commands that a node needs, and the Debian package of each. */
export const COMMANDS = [
  { command: 'nft', packageName: 'nftables' },
  { command: 'ip', packageName: 'iproute2' },
  { command: 'nsenter', packageName: 'util-linux' },
  { command: 'unshare', packageName: 'util-linux' },
  { command: 'mount', packageName: 'mount' },
  { command: 'umount', packageName: 'mount' },
  { command: 'cp', packageName: 'coreutils' },
  { command: 'tar', packageName: 'tar' },
] as const;

/** What must be installed, and what must not be left from earlier. */
export const FILE_CHECKS: readonly Check[] = [
  { name: 'FileAvailable', scopes: BOTH, observe: observeAbsentFiles },
  { name: 'DirAvailable', scopes: BOTH, observe: observeEmptyDirectories },
  { name: 'StoreWithoutCertificates', scopes: ['init'], observe: observeStore },
  { name: 'FileExisting', scopes: BOTH, observe: observeCommands },
];

async function observeAbsentFiles(host: Host, { absentFiles }: PreflightInput): Promise<readonly Finding[]> {
  const stats = await Promise.all(absentFiles.map((path) => host.stat(path)));
  return absentFiles
    .filter((_, i) => stats[i] !== undefined)
    .map((path) =>
      errorFinding(
        `FileAvailable-${path.replaceAll('/', '-')}`,
        `"${path}" is there already`,
        'it is left from an earlier run',
        'tkadm reset -f',
      ),
    );
}

async function observeEmptyDirectories(
  host: Host,
  { emptyDirectories = [] }: PreflightInput,
): Promise<readonly Finding[]> {
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
async function observeStore(host: Host): Promise<readonly Finding[]> {
  const [store, ca] = await Promise.all([
    host.list('/var/lib/tkadm/store'),
    host.stat('/etc/kubernetes/pki/ca.crt'),
  ]);
  if (store.length === 0 || ca) return [];
  return [
    warningFinding(
      'StoreWithoutCertificates',
      'objects of an earlier cluster are there, and its certificates are not',
      `/var/lib/tkadm/store has ${store.join(', ')}; /etc/kubernetes/pki/ca.crt is not there`,
      'tkadm reset -f, or restore /etc/kubernetes/pki',
    ),
  ];
}

async function observeCommands(host: Host): Promise<readonly Finding[]> {
  const names = COMMANDS.map((row) => row.command);
  const script = 'PATH=$PATH:/usr/sbin:/sbin; for c; do command -v "$c" >/dev/null || echo "$c"; done';
  const { stdout } = await host.run(['sh', '-c', script, 'sh', ...names]);
  const missing = COMMANDS.filter((row) => stdout.split('\n').includes(row.command));
  if (missing.length === 0) return [];
  const hasApt = (await host.stat('/usr/bin/apt-get')) !== undefined;
  return missing.map(({ command, packageName }) => ({
    ...errorFinding(
      `FileExisting-${command}`,
      `the command "${command}" is missing`,
      'it is not in PATH',
      `apt-get install -y --no-install-recommends ${packageName}`,
    ),
    ...(hasApt ? { repair: [['sh', '-c', INSTALL_SCRIPT, 'sh', packageName]] } : {}),
  }));
}

/** Installs from the known package lists; fetches new lists when that fails. */
const INSTALL_SCRIPT =
  'export DEBIAN_FRONTEND=noninteractive; set -- apt-get install -y --no-install-recommends "$1"; ' +
  '"$@" || { apt-get update && "$@"; }';
