import { CERTIFICATES } from '../../pki/certificates.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import type { ResetConfig } from '../config/types.ts';
import { CGROUPS } from '../journal/own.ts';
import { type Done, listSpared } from '../journal/undo.ts';
import type { Action } from '../workflow/action.ts';
import type { ResetContext } from './reset.ts';

const CONFIG_FILES = [
  'admin.conf',
  'super-admin.conf',
  'kubelet.conf',
  'bootstrap-kubelet.conf',
  'controller-manager.conf',
  'scheduler.conf',
].flatMap((name) => [name, `${name}.csr`].map((file) => `${PATHS.kubernetes}/${file}`));

/** Directories that only a node fills, in the order in which they are removed. */
const OWN_DIRS = [PATHS.manifests, PATHS.podLogs, PATHS.containerLogs, PATHS.logs, PATHS.run, PATHS.state];

/** What of files, mounts and cgroups is a node's. What was there before stays. */
export async function planFiles({ host, config, done }: ResetContext): Promise<readonly Action[]> {
  const known = await done();
  const spared = listSpared(known);
  const actions: Action[] = [];
  const kubeletDir = await resolveLink(host, PATHS.kubelet);
  for (const path of await mountPoints(host, kubeletDir)) {
    const argv = ['umount', ...umountOptions(config.unmountFlags), path];
    actions.push({ kind: 'run', argv, summary: `unmount ${path}` });
  }
  const kubeletEntries = (await host.list(kubeletDir)).map((name) => `${kubeletDir}/${name}`);
  const stateDirs = [];
  for (const path of OWN_DIRS) {
    // A mount point is somebody's disk: it is emptied, not removed; the journal is needed to the end.
    const isWhole = path !== PATHS.state && !(await isMountPoint(host, path));
    if (isWhole) stateDirs.push(path);
    else stateDirs.push(...(await host.list(path)).map((name) => `${path}/${name}`));
  }
  actions.push(...(await planCgroups(host)));
  const certificates = await certificatePaths(host, config, known);
  const temporary = config.shouldCleanTmpDir ? [`${PATHS.kubernetes}/tmp`] : [];
  for (const path of [...CONFIG_FILES, ...kubeletEntries, ...certificates, ...temporary, ...stateDirs]) {
    if (path !== PATHS.journal) actions.push(...(await planRemoval(host, path, spared)));
  }
  return actions;
}

/** Removes a tree but for what is to be spared in it. */
async function planRemoval(host: Host, path: string, spared: readonly string[]): Promise<readonly Action[]> {
  const stat = await host.stat(path);
  if (!stat) return [];
  if (!spared.some((other) => other === path || other.startsWith(`${path}/`)))
    return [{ kind: 'remove', path }];
  if (stat.kind !== 'directory') return [];
  const names = await host.list(path);
  const parts = await Promise.all(names.map((name) => planRemoval(host, `${path}/${name}`, spared)));
  return parts.flat();
}

/**
 * What goes of the certificates: the default directory as a whole; of another one, which may be shared, only the
 * files that tkadm writes. The directory is the configuration's, else the one that the API server runs with.
 */
async function certificatePaths(
  host: Host,
  { certificatesDir }: ResetConfig,
  { changes, snapshot }: Done,
): Promise<readonly string[]> {
  const directory = certificatesDir ?? (await findCertificatesDir(host)) ?? PATHS.pki;
  if (directory === PATHS.pki) return [directory];
  const names = [
    ...CERTIFICATES.flatMap(({ baseName }) => [`${baseName}.crt`, `${baseName}.key`]),
    'sa.key',
    'sa.pub',
  ];
  const written = new Set(changes.flatMap((change) => (change.kind === 'file' ? [change.path] : [])));
  const own = names.map((name) => `${directory}/${name}`);
  if (snapshot) return own.filter((path) => written.has(path));
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
export function refuseUnmountFlags(flags: readonly string[]): void {
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

/** True when a file system is mounted at the path. */
export async function isMountPoint(host: Host, path: string): Promise<boolean> {
  const text = (await host.readFile('/proc/self/mountinfo')) ?? '';
  return text.split('\n').some((line) => line.split(' ')[4] === path);
}
