import {
  chownSync,
  closeSync,
  existsSync,
  constants as fs,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import type { RootfsSource } from './engine.ts';
import type { CgroupMounts, ContainerBundle } from './launch-bundle.ts';
import { type Libc, MNT_DETACH, MS } from './libc.ts';
import { parseMountOptions, parsePropagation } from './mount-options.ts';
import type { OciLinux, OciMount } from './oci-spec.ts';

const O_PATH = 0o10000000;
const O_CLOEXEC = 0o2000000;
/** mount(2) copies one page of options at most. */
const MAX_MOUNT_DATA = 4095;

/** Device nodes of every container, runtime-spec config-linux.md "Default Devices". */
const DEFAULT_DEVICES = [
  { path: '/dev/null', type: 'c', major: 1, minor: 3 },
  { path: '/dev/zero', type: 'c', major: 1, minor: 5 },
  { path: '/dev/full', type: 'c', major: 1, minor: 7 },
  { path: '/dev/random', type: 'c', major: 1, minor: 8 },
  { path: '/dev/urandom', type: 'c', major: 1, minor: 9 },
  { path: '/dev/tty', type: 'c', major: 5, minor: 0 },
] as const;

const DEV_LINKS = [
  ['/proc/self/fd', '/dev/fd'],
  ['/proc/self/fd/0', '/dev/stdin'],
  ['/proc/self/fd/1', '/dev/stdout'],
  ['/proc/self/fd/2', '/dev/stderr'],
  ['pts/ptmx', '/dev/ptmx'],
] as const;

const DEVICE_TYPES = { c: 0o020000, u: 0o020000, b: 0o060000, p: 0o010000 } as const;

/** Mounts the root file system and everything in it, in a mount namespace of our own. Returns the root's fd. */
export function buildRootfs(libc: Libc, bundle: ContainerBundle): number {
  const { spec } = bundle;
  const propagation = parsePropagation(spec.linux?.rootfsPropagation ?? 'rprivate');
  if (propagation === undefined) throw new Error(`rootfsPropagation "${spec.linux?.rootfsPropagation}"`);
  // A shared root would let our mounts escape to the host: that is only for the binds of rshared volumes.
  const isShared = (propagation & MS.SHARED) !== 0;
  libc.mount(null, '/', null, isShared ? MS.SLAVE | MS.REC : propagation, null);
  mountRootSource(libc, bundle.rootfs, bundle.stagingDir);
  const root = openSync(bundle.stagingDir, O_PATH | fs.O_DIRECTORY);
  mountAll(libc, root, {
    mounts: spec.mounts ?? [],
    devices: spec.linux?.devices ?? [],
    cgroupMounts: bundle.cgroupMounts,
  });
  return root;
}

interface MountPlan {
  readonly mounts: readonly OciMount[];
  readonly devices?: NonNullable<OciLinux['devices']>;
  readonly cgroupMounts: CgroupMounts;
}

/** Makes the spec's mounts and devices below the directory `root`. */
export function mountAll(libc: Libc, root: number, plan: MountPlan): void {
  for (const mount of plan.mounts) {
    try {
      mountEntry(libc, root, mount, plan.cgroupMounts);
    } catch (error) {
      throw new Error(`mount "${mount.source ?? mount.type}" at "${mount.destination}": ${text(error)}`);
    }
  }
  const devices = plan.devices ?? [];
  const hasOwnDev = plan.mounts.some((mount) => mount.destination === '/dev' && mount.type === 'tmpfs');
  if (hasOwnDev) createDevices(libc, root, devices);
  else createExtraDevices(libc, root, devices);
}

/** Makes `root` "/" and forgets the host's file system (pivot_root(2), "pivot_root(".", ".")"). */
export function enterRootfs(libc: Libc, root: number, stagingDir: string, noPivot = false): void {
  // The root's descriptor must see the mount on top of the directory, hence by path.
  process.chdir(stagingDir);
  closeSync(root);
  if (noPivot) libc.chroot('.');
  else {
    libc.pivotRoot('.', '.');
    libc.mount(null, '.', null, MS.SLAVE | MS.REC, null);
    libc.umount('.', MNT_DETACH);
  }
  process.chdir('/');
}

/** Masked paths, read-only paths and the read-only root; after enterRootfs(). */
export function protectRootfs(libc: Libc, linux: OciLinux | undefined, isReadonly: boolean): void {
  for (const path of linux?.readonlyPaths ?? []) {
    const errno = libc.tryMount(path, path, null, MS.BIND | MS.REC, null);
    if (errno === 'ENOENT' || errno === 'ENOTDIR') continue;
    if (errno !== undefined) throw new Error(`readonly path "${path}": ${errno}`);
    libc.mount(null, path, null, MS.BIND | MS.REMOUNT | MS.RDONLY | lockedFlags(path), null);
  }
  for (const path of linux?.maskedPaths ?? []) {
    const errno = libc.tryMount('/dev/null', path, null, MS.BIND, null);
    if (errno === undefined || errno === 'ENOENT') continue;
    if (errno !== 'ENOTDIR') throw new Error(`masked path "${path}": ${errno}`);
    if (!existsSync(path)) continue;
    libc.mount('tmpfs', path, 'tmpfs', MS.RDONLY, 'size=0k,nr_inodes=2');
  }
  if (isReadonly) libc.mount(null, '/', null, MS.BIND | MS.REMOUNT | MS.RDONLY | lockedFlags('/'), null);
}

/** Binds a terminal's slave, "/dev/pts/N" of the host, to /dev/console. */
export function bindConsole(libc: Libc, root: number, slavePath: string): void {
  const target = ensureTarget(libc, root, '/dev/console', false);
  libc.mount(slavePath, `/proc/self/fd/${target}`, null, MS.BIND, null);
  closeSync(target);
}

/** Writes kernel parameters, "net.ipv4.ip_forward" or "net/ipv4/conf/eth0.1/forwarding". */
export function writeSysctls(sysctls: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(sysctls)) {
    const path = name.includes('/') ? name : name.replaceAll('.', '/');
    if (path.split('/').includes('..')) throw new Error(`sysctl "${name}": not a parameter`);
    try {
      writeFileSync(`/proc/sys/${path}`, value);
    } catch (error) {
      throw new Error(`sysctl "${name}": ${text(error)}`);
    }
  }
}

function mountRootSource(libc: Libc, source: RootfsSource, target: string): void {
  if (source.kind === 'path') {
    libc.mount(source.path, target, null, MS.BIND | MS.REC, null);
    return;
  }
  const fixed = `upperdir=${escapeOverlay(source.upperDir)},workdir=${escapeOverlay(source.workDir)}`;
  const absolute = `lowerdir=${source.lowerDirs.map(escapeLower).join(':')},${fixed}`;
  if (Buffer.byteLength(absolute) <= MAX_MOUNT_DATA) {
    libc.mount('overlay', target, 'overlay', 0, absolute);
    return;
  }
  const base = commonDirectory(source.lowerDirs);
  process.chdir(base);
  const relative = source.lowerDirs.map((path) => escapeLower(path.slice(base.length + 1))).join(':');
  const data = `lowerdir=${relative},${fixed}`;
  if (Buffer.byteLength(data) > MAX_MOUNT_DATA) {
    throw new Error(`overlay of ${source.lowerDirs.length} layers: the options exceed a page`);
  }
  libc.mount('overlay', target, 'overlay', 0, data);
  process.chdir('/');
}

const escapeOverlay = (path: string) => path.replace(/[\\,]/g, '\\$&');
const escapeLower = (path: string) => path.replace(/[\\,:]/g, '\\$&');

function commonDirectory(paths: readonly string[]): string {
  let base = dirname(paths[0] ?? '/');
  while (base !== '/' && !paths.every((path) => path.startsWith(`${base}/`))) base = dirname(base);
  return base === '/' ? '' : base;
}

function mountEntry(libc: Libc, root: number, mount: OciMount, cgroups: CgroupMounts): void {
  const options = parseMountOptions(mount.options ?? []);
  if (options.isBind || mount.type === 'bind') {
    mountBind(libc, root, mount, options);
    return;
  }
  if (mount.type === 'cgroup' || mount.type === 'cgroup2') {
    mountCgroup(libc, root, mount, cgroups);
    return;
  }
  const type = mount.type ?? 'none';
  withTarget(libc, root, mount.destination, true, (target) => {
    libc.mount(mount.source ?? type, target, type, options.flags, options.data || null);
  });
  if (options.propagation !== undefined) {
    withTarget(libc, root, mount.destination, true, (target) => {
      libc.mount(null, target, null, options.propagation ?? 0, null);
    });
  }
}

function mountBind(
  libc: Libc,
  root: number,
  mount: OciMount,
  options: ReturnType<typeof parseMountOptions>,
): void {
  const source = mount.source ?? '';
  const isDirectory = statSync(source).isDirectory();
  withTarget(libc, root, mount.destination, isDirectory, (target) => {
    libc.mount(source, target, null, MS.BIND | (options.isRecursive ? MS.REC : 0), null);
  });
  // A second look-up reaches the new mount, which the flags and the propagation are for.
  withTarget(libc, root, mount.destination, isDirectory, (target) => {
    if (options.flags !== 0) {
      libc.mount(null, target, null, MS.BIND | MS.REMOUNT | options.flags | lockedFlags(target), null);
    }
    libc.mount(null, target, null, options.propagation ?? MS.PRIVATE | MS.REC, null);
  });
  if (options.isRecursiveReadonly) throw new Error('option "rro" is not supported');
}

/** Flags of the mount at `path` that a remount must keep, since the kernel or the source's owner set them. */
function lockedFlags(path: string): number {
  const names: Readonly<Record<string, number>> = {
    nosuid: MS.NOSUID,
    nodev: MS.NODEV,
    noexec: MS.NOEXEC,
    noatime: MS.NOATIME,
    nodiratime: MS.NODIRATIME,
    relatime: MS.RELATIME,
  };
  const real = path.startsWith('/proc/self/fd/') ? readlinkSync(path) : path;
  let found = 0;
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const fields = line.split(' ');
    if (fields[4] !== real) continue;
    found = (fields[5] ?? '').split(',').reduce((flags, name) => flags | (names[name] ?? 0), 0);
  }
  return found;
}

function mountCgroup(libc: Libc, root: number, mount: OciMount, cgroups: CgroupMounts): void {
  const { destination } = mount;
  const flags = MS.NOSUID | MS.NODEV | MS.NOEXEC | MS.RELATIME;
  const isReadonly = (mount.options ?? []).includes('ro');
  const readonly = isReadonly ? MS.RDONLY : 0;
  if (cgroups.version === 2) {
    withTarget(libc, root, destination, true, (target) => {
      libc.mount('cgroup2', target, 'cgroup2', flags | readonly, null);
    });
    return;
  }
  withTarget(libc, root, destination, true, (target) => {
    libc.mount('tmpfs', target, 'tmpfs', flags & ~MS.RELATIME, 'mode=755');
  });
  for (const { name, options } of cgroups.hierarchies) {
    withTarget(libc, root, `${destination}/${name}`, true, (target) => {
      libc.mount('cgroup', target, 'cgroup', flags | readonly, options);
    });
    if (!name.includes(',')) continue;
    withTarget(libc, root, destination, true, (target) => {
      for (const part of name.split(',')) symlinkSync(name, `${target}/${part}`);
    });
  }
  if (!isReadonly) return;
  withTarget(libc, root, destination, true, (target) => {
    libc.mount(null, target, null, MS.BIND | MS.REMOUNT | MS.RDONLY | MS.NOSUID | MS.NODEV | MS.NOEXEC, null);
  });
}

function createDevices(libc: Libc, root: number, devices: NonNullable<OciLinux['devices']>): void {
  const extra = new Set(devices.map((device) => device.path));
  createExtraDevices(libc, root, [
    ...DEFAULT_DEVICES.filter((device) => !extra.has(device.path)),
    ...devices,
  ]);
  withTarget(libc, root, '/dev', true, (dev) => {
    for (const [target, path] of DEV_LINKS) {
      try {
        symlinkSync(target, `${dev}/${basename(path)}`);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
    }
  });
}

function createExtraDevices(libc: Libc, root: number, devices: NonNullable<OciLinux['devices']>): void {
  for (const device of devices) {
    withTarget(libc, root, dirname(device.path), true, (directory) => {
      const path = `${directory}/${basename(device.path)}`;
      if (existsSync(path)) return;
      const type = DEVICE_TYPES[device.type];
      libc.mknod(path, type | (device.fileMode ?? 0o666), device.major, device.minor);
      const fd = libc.openInRoot(root, device.path, O_PATH | O_CLOEXEC | 0o400000);
      if (fd === undefined) return;
      applyOwner(fd, device);
      closeSync(fd);
    });
  }
}

function applyOwner(fd: number, device: NonNullable<OciLinux['devices']>[number]): void {
  if (device.uid === undefined && device.gid === undefined) return;
  // fchown(2) refuses O_PATH descriptors, the path through /proc works.
  chownSync(`/proc/self/fd/${fd}`, device.uid ?? 0, device.gid ?? 0);
}

/** Calls `use` with a path to the destination inside the root file system that no link can lead astray. */
function withTarget(
  libc: Libc,
  root: number,
  destination: string,
  isDirectory: boolean,
  use: (path: string) => void,
): void {
  const fd = ensureTarget(libc, root, destination, isDirectory);
  try {
    use(`/proc/self/fd/${fd}`);
  } finally {
    closeSync(fd);
  }
}

/** Opens the destination (O_PATH), making missing directories and the final directory or empty file. */
function ensureTarget(libc: Libc, root: number, destination: string, isDirectory: boolean): number {
  const found = libc.openInRoot(root, destination, O_PATH | O_CLOEXEC);
  if (found !== undefined) {
    if (fstatSync(found).isDirectory() === isDirectory) return found;
    closeSync(found);
    throw new Error(isDirectory ? 'the target is not a directory' : 'the target is a directory');
  }
  const parent = ensureTarget(libc, root, dirname(destination), true);
  const path = `/proc/self/fd/${parent}/${basename(destination)}`;
  try {
    if (isDirectory) mkdirSync(path, 0o755);
    else closeSync(openSync(path, fs.O_CREAT | fs.O_EXCL | fs.O_WRONLY, 0o644));
  } finally {
    closeSync(parent);
  }
  const made = libc.openInRoot(root, destination, O_PATH | O_CLOEXEC);
  if (made === undefined) throw new Error('the target vanished');
  return made;
}

function text(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
