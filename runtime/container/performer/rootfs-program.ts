import { basename, dirname } from 'node:path';
import type { RootfsSource } from '../engine.ts';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_RECURSIVE,
  AT_SYMLINK_NOFOLLOW,
  MNT_DETACH,
  MS,
} from '../kernel-constants.ts';
import type { CgroupMounts } from '../launch-bundle.ts';
import { type MountOptions, parseMountOptions, parsePropagation } from '../mount-options.ts';
import type { OciLinux, OciMount, OciSpec } from '../oci-spec.ts';
import type { Machine } from '../seccomp/syscall-numbers.ts';
import { buildOverlayData } from './overlay-data.ts';
import { type DataRef, failed, type Section } from './program.ts';
import { RootPlaces } from './root-places.ts';

const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
/** open_tree(2) */
const OPEN_TREE = 1 | O_CLOEXEC;
/** move_mount(2), by descriptors alone: MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH */
const MOVE_BY_DESCRIPTORS = 0x44;

/** mount(2) flag → MOUNT_ATTR_* of mount_setattr(2), and what must be cleared for it. */
const ATTRIBUTES = [
  { flag: MS.RDONLY, set: 1, clear: 0 },
  { flag: MS.NOSUID, set: 2, clear: 0 },
  { flag: MS.NODEV, set: 4, clear: 0 },
  { flag: MS.NOEXEC, set: 8, clear: 0 },
  { flag: MS.NOATIME, set: 0x10, clear: 0x70 },
  { flag: MS.STRICTATIME, set: 0x20, clear: 0x70 },
  { flag: MS.RELATIME, set: 0, clear: 0x70 },
  { flag: MS.NODIRATIME, set: 0x80, clear: 0 },
  { flag: MS.NOSYMFOLLOW, set: 0x200000, clear: 0 },
] as const;

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
type Devices = NonNullable<OciLinux['devices']>;

export interface RootfsOptions {
  readonly machine: Machine;
  readonly spec: OciSpec;
  readonly rootfs: RootfsSource;
  /** An empty directory of the host: mount point of the root file system in the container's own namespace. */
  readonly stagingDir: string;
  readonly cgroupMounts: CgroupMounts;
  /** Sources of binds that are directories. */
  readonly directories: ReadonlySet<string>;
  /** The mount of the terminal's slave, made in the host's namespace. */
  readonly terminalTree?: DataRef | undefined;
}

/**
 * Builds the container's root file system and enters it. Every place inside it is found with openat2(2) as if the root
 * were "/" and used by its descriptor, so that no link of an image leads out; mounts are complete before they are seen.
 */
export class RootfsProgram {
  readonly #section: Section;
  readonly #options: RootfsOptions;
  readonly #places: RootPlaces;
  /** The descriptor of a mount that has no place yet. */
  readonly #tree: DataRef;
  readonly #empty: DataRef;
  /** Mounts that go on belonging to the host's peer groups: made before the namespace. */
  readonly #sharedTrees = new Map<OciMount, DataRef>();

  constructor(section: Section, options: RootfsOptions) {
    this.#section = section;
    this.#options = options;
    this.#places = new RootPlaces(section, options.machine.architecture);
    this.#tree = section.room();
    this.#empty = section.text('');
  }

  /** In the host's mount namespace: binds that pass mounts on to the host and back, "rshared". */
  openSharedBinds(): void {
    for (const mount of this.#options.spec.mounts ?? []) {
      const options = parseMountOptions(mount.options ?? []);
      if (!isBind(mount, options) || ((options.propagation ?? 0) & MS.SHARED) === 0) continue;
      const tree = this.#section.room();
      this.#sharedTrees.set(mount, tree);
      this.#nameMount(mount);
      this.#openTree(mount, options, tree);
    }
  }

  /** In a mount namespace of our own: everything in it, then pivot_root(2). */
  build(): void {
    const { spec, terminalTree } = this.#options;
    const section = this.#section;
    const wanted = parsePropagation(spec.linux?.rootfsPropagation ?? 'rprivate');
    if (wanted === undefined) throw new Error(`rootfsPropagation "${spec.linux?.rootfsPropagation}"`);
    section.step('mount "/"');
    // Nothing below may stay shared: our own mounts, and their end, would reach the host. Shared binds were made before.
    const hearsHost = (wanted & (MS.SHARED | MS.SLAVE)) !== 0;
    section.call('mount', [0, section.text('/'), 0, (hearsHost ? MS.SLAVE : MS.PRIVATE) | MS.REC, 0]);
    this.#mountSource();
    section.step('open the root file system');
    section.call('openat', [AT_FDCWD, section.text(this.#options.stagingDir), O_PATH | O_CLOEXEC, 0], {
      into: this.#places.root,
    });
    for (const mount of spec.mounts ?? []) {
      this.#nameMount(mount);
      this.#mountEntry(mount);
    }
    this.#makeAllDevices();
    if (terminalTree !== undefined) {
      section.step('mount terminal at "/dev/console"');
      this.#places.openTarget('/dev/console', false);
      this.#moveMount(terminalTree);
    }
    this.#makeWorkingDirectory();
    this.#protect();
    this.#enter();
  }

  #nameMount(mount: OciMount): void {
    this.#section.step(`mount "${mount.source ?? mount.type}" at "${mount.destination}"`);
  }

  #mountSource(): void {
    const { rootfs, stagingDir } = this.#options;
    const section = this.#section;
    section.step('mount the root file system');
    const target = section.text(stagingDir);
    if (rootfs.kind === 'path') {
      section.call('mount', [section.text(rootfs.path), target, 0, MS.BIND | MS.REC, 0]);
      return;
    }
    const { base, data } = buildOverlayData(rootfs);
    const type = section.text('overlay');
    if (base !== undefined) section.call('chdir', [section.text(base)]);
    section.call('mount', [type, target, type, 0, section.text(data)]);
  }

  #mountEntry(mount: OciMount): void {
    const options = parseMountOptions(mount.options ?? []);
    if (isBind(mount, options)) this.#mountBind(mount, options);
    else if (mount.type === 'cgroup' || mount.type === 'cgroup2') this.#mountCgroup(mount);
    else {
      const type = mount.type ?? 'none';
      this.#mountAt(mount.destination, mount.source ?? type, type, options.flags, options.data);
      if (options.propagation === undefined) return;
      this.#places.openTarget(mount.destination, true);
      this.#setAttributes(this.#places.target, { propagation: options.propagation });
      this.#places.close(this.#places.target);
    }
  }

  #mountBind(mount: OciMount, options: MountOptions): void {
    const shared = this.#sharedTrees.get(mount);
    const tree = shared ?? this.#tree;
    if (shared === undefined) this.#openTree(mount, options, tree);
    if (options.flags !== 0) {
      this.#setAttributes(tree, { flags: options.flags, isRecursive: options.isRecursiveReadonly });
    }
    if (options.propagation !== undefined) this.#setAttributes(tree, { propagation: options.propagation });
    else this.#setAttributes(tree, { propagation: MS.PRIVATE | MS.REC });
    this.#places.openTarget(mount.destination, this.#options.directories.has(mount.source ?? ''));
    this.#moveMount(tree);
  }

  #openTree(mount: OciMount, options: MountOptions, tree: DataRef): void {
    const flags = OPEN_TREE | (options.isRecursive ? AT_RECURSIVE : 0);
    this.#section.call('open_tree', [AT_FDCWD, this.#section.text(mount.source ?? ''), flags], {
      into: tree,
    });
  }

  /** Puts the tree onto the target, and closes both. */
  #moveMount(tree: DataRef): void {
    const args = [{ at: tree }, this.#empty, { at: this.#places.target }, this.#empty, MOVE_BY_DESCRIPTORS];
    this.#section.call('move_mount', args);
    this.#places.close(tree);
    this.#places.close(this.#places.target);
  }

  #setAttributes(
    fd: DataRef,
    wish: { readonly flags?: number; readonly propagation?: number; readonly isRecursive?: boolean },
  ): void {
    const rows = ATTRIBUTES.filter(({ flag }) => ((wish.flags ?? 0) & flag) !== 0);
    const attributes = Buffer.alloc(32);
    attributes.writeUInt32LE(
      rows.reduce((bits, { set }) => bits | set, 0),
      0,
    );
    attributes.writeUInt32LE(
      rows.reduce((bits, { clear }) => bits | clear, 0),
      8,
    );
    attributes.writeUInt32LE((wish.propagation ?? 0) & ~MS.REC, 16);
    const isRecursive = wish.isRecursive || ((wish.propagation ?? 0) & MS.REC) !== 0;
    const flags = AT_EMPTY_PATH | (isRecursive ? AT_RECURSIVE : 0);
    const data = this.#section.bytes(attributes);
    this.#section.call('mount_setattr', [{ at: fd }, this.#empty, flags, data, attributes.length]);
  }

  /** mount(2) of a file system of its own onto a directory, by way of the working directory. */
  #mountAt(destination: string, source: string, type: string, flags: number, data: string): void {
    const section = this.#section;
    this.#places.openTarget(destination, true);
    section.call('fchdir', [{ at: this.#places.target }]);
    section.call('mount', [
      section.text(source),
      section.text('.'),
      section.text(type),
      flags,
      data === '' ? 0 : section.text(data),
    ]);
    this.#places.close(this.#places.target);
  }

  #mountCgroup(mount: OciMount): void {
    const { destination } = mount;
    const { cgroupMounts } = this.#options;
    const section = this.#section;
    const flags = MS.NOSUID | MS.NODEV | MS.NOEXEC;
    const readonly = (mount.options ?? []).includes('ro') ? MS.RDONLY : 0;
    if (cgroupMounts.version === 2) {
      this.#mountAt(destination, 'cgroup2', 'cgroup2', flags | MS.RELATIME | readonly, '');
      return;
    }
    this.#mountAt(destination, 'tmpfs', 'tmpfs', flags, 'mode=755');
    for (const { name, options } of cgroupMounts.hierarchies) {
      this.#mountAt(`${destination}/${name}`, 'cgroup', 'cgroup', flags | MS.RELATIME | readonly, options);
    }
    this.#places.openTarget(destination, true);
    for (const { name } of cgroupMounts.hierarchies) {
      if (!name.includes(',')) continue;
      for (const part of name.split(',')) {
        section.call('symlinkat', [section.text(name), { at: this.#places.target }, section.text(part)]);
      }
    }
    if (readonly !== 0) this.#setAttributes(this.#places.target, { flags: MS.RDONLY });
    this.#places.close(this.#places.target);
  }

  #makeAllDevices(): void {
    const { spec } = this.#options;
    const devices = spec.linux?.devices ?? [];
    const hasOwnDev = (spec.mounts ?? []).some(
      (mount) => mount.destination === '/dev' && mount.type === 'tmpfs',
    );
    const taken = new Set(devices.map((device) => device.path));
    if (hasOwnDev) this.#makeDevices(DEFAULT_DEVICES.filter((device) => !taken.has(device.path)));
    this.#makeDevices(devices);
    if (!hasOwnDev) return;
    this.#section.step('link in "/dev"');
    this.#places.openTarget('/dev', true);
    for (const [target, path] of DEV_LINKS) {
      const args = [
        this.#section.text(target),
        { at: this.#places.target },
        this.#section.text(basename(path)),
      ];
      this.#tolerate('symlinkat', args, failed('EEXIST'));
    }
    this.#places.close(this.#places.target);
  }

  #makeDevices(devices: Devices): void {
    const section = this.#section;
    for (const directory of new Set(devices.map(({ path }) => dirname(path)))) {
      section.step(`device in "${directory}"`);
      this.#places.openTarget(directory, true);
      for (const device of devices.filter(({ path }) => dirname(path) === directory)) {
        section.step(`device "${device.path}"`);
        const past = section.label();
        const name = section.text(basename(device.path));
        const mode = DEVICE_TYPES[device.type] | (device.fileMode ?? 0o666);
        section.call('mknodat', [{ at: this.#places.target }, name, mode, makeDevice(device)], {
          on: [[failed('EEXIST'), past]],
        });
        if (device.uid || device.gid) {
          const owner = [device.uid ?? 0, device.gid ?? 0] as const;
          section.call('fchownat', [{ at: this.#places.target }, name, ...owner, AT_SYMLINK_NOFOLLOW]);
        }
        section.place(past);
      }
      this.#places.close(this.#places.target);
    }
  }

  /** Makes process_.cwd where it is missing; that it cannot shows at chdir(2). */
  #makeWorkingDirectory(): void {
    const { cwd } = this.#options.spec.process!;
    if (cwd === '/') return;
    const past = this.#section.label();
    this.#section.step(`working directory "${cwd}"`);
    this.#places.makeDirectories(cwd, past);
    this.#section.place(past);
  }

  /** Masked paths, read-only paths and the read-only root. */
  #protect(): void {
    const { spec } = this.#options;
    for (const path of spec.linux?.readonlyPaths ?? []) this.#makeReadonly(path);
    for (const path of spec.linux?.maskedPaths ?? []) this.#mask(path);
    if (!spec.root?.readonly) return;
    this.#section.step('read-only root file system');
    this.#setAttributes(this.#places.root, { flags: MS.RDONLY });
  }

  #makeReadonly(path: string): void {
    const section = this.#section;
    const past = section.label();
    section.step(`readonly path "${path}"`);
    this.#places.openExisting(path, past);
    const flags = OPEN_TREE | AT_EMPTY_PATH | AT_RECURSIVE;
    section.call('open_tree', [{ at: this.#places.target }, this.#empty, flags], { into: this.#tree });
    this.#setAttributes(this.#tree, { flags: MS.RDONLY, isRecursive: true });
    this.#moveMount(this.#tree);
    section.place(past);
  }

  /**
   * An empty file system over a directory, the host's /dev/null over a file. (A mount that is made and not used costs
   * the kernel milliseconds when it goes: what the path is must be known first.)
   */
  #mask(path: string): void {
    const section = this.#section;
    const [past, isFile] = [section.label(), section.label()];
    section.step(`masked path "${path}"`);
    this.#places.openExisting(path, past, isFile);
    section.call('fchdir', [{ at: this.#places.target }]);
    const tmpfs = section.text('tmpfs');
    section.call('mount', [tmpfs, section.text('.'), tmpfs, MS.RDONLY, section.text('size=0k,nr_inodes=2')]);
    this.#places.close(this.#places.target);
    section.place(past);
    section.later(() => {
      section.place(isFile);
      this.#places.openExisting(path, past);
      section.call('open_tree', [AT_FDCWD, section.text('/dev/null'), OPEN_TREE], { into: this.#tree });
      this.#moveMount(this.#tree);
      section.jump(past);
    });
  }

  /** Forgets the host's file systems: pivot_root(".", "."), pivot_root(2). */
  #enter(): void {
    const section = this.#section;
    const [dot, root] = [section.text('.'), section.text('/')];
    section.step('enter the root file system');
    section.call('chdir', [section.text(this.#options.stagingDir)]);
    section.call('pivot_root', [dot, dot]);
    section.call('umount2', [dot, MNT_DETACH]);
    section.call('chdir', [root]);
  }

  #tolerate(name: string, args: Parameters<Section['call']>[1], result: number): void {
    const next = this.#section.label();
    this.#section.call(name, args, { on: [[result, next]] });
    this.#section.place(next);
  }
}

function isBind(mount: OciMount, options: MountOptions): boolean {
  return options.isBind || mount.type === 'bind';
}

/** Sources of a spec's binds, of which it must be known whether they are directories. */
export function listBindSources(spec: OciSpec): readonly string[] {
  return (spec.mounts ?? [])
    .filter((mount) => isBind(mount, parseMountOptions(mount.options ?? [])))
    .map((mount) => mount.source ?? '');
}

/** The kernel's number of a device, makedev(3). */
function makeDevice({ major, minor }: { readonly major: number; readonly minor: number }): number {
  return (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) * 4096);
}
