import type { RootfsSource } from '../engine.ts';
import { AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, CLONE, MNT_DETACH, MS } from '../kernel-constants.ts';
import type { CgroupMounts } from '../launch-bundle.ts';
import { type MountOptions, parseMountOptions, parsePropagation } from '../mount-options.ts';
import type { OciMount, OciSpec } from '../oci-spec.ts';
import type { Machine } from '../seccomp/syscall-numbers.ts';
import { mountCgroups } from './cgroup-mounts.ts';
import { makeDeviceNodes, openDevices } from './device-nodes.ts';
import { changeMountFlags, changePropagation, mapMountIds } from './mount-attributes.ts';
import type { DataRef, Section } from './program.ts';
import { protectPaths } from './protected-paths.ts';
import { REPORT, waitForRuntime } from './report-program.ts';
import { mountAt, moveMount, RootPlaces } from './root-places.ts';
import { mountSource, rootIds } from './root-source.ts';
import { makeUserNamespace } from './user-namespace.ts';

const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
/** open_tree(2): OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC */
const OPEN_TREE = 1 | O_CLOEXEC;
/** move_mount(2) from one descriptor to another: MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH */
const MOVE_BY_DESCRIPTORS = 0x44;
/** File systems that label their files themselves. */
const UNLABELLED_TYPES: readonly string[] = ['proc', 'sysfs', 'mqueue'];

/** Under these the container shows the runtime what is to be copied, and where to: copyUp(). */
export const COPY_SOURCE_FD = 66;
export const COPY_TARGET_FD = 67;

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
  /** Binds that were opened by the host's root, in the host's mount namespace. */
  readonly #hostTrees = new Map<OciMount, DataRef>();
  readonly #user: DataRef | undefined;
  #rootTree: DataRef | undefined;
  #devices: ReadonlyMap<string, DataRef> | undefined;

  /** @param user the container's user namespace, a descriptor */
  constructor(section: Section, options: RootfsOptions, user: DataRef | undefined) {
    this.#section = section;
    this.#options = options;
    this.#user = user;
    this.#places = new RootPlaces(section, options.machine.architecture);
    this.#tree = section.room();
    this.#empty = section.text('');
  }

  /**
   * In the host's mount namespace: binds that pass mounts on to the host and back ("rshared"), and those that only the
   * host's root can make: of a container with a user namespace all, else those with ids of their own.
   */
  openHostTrees(): void {
    for (const mount of this.#options.spec.mounts ?? []) {
      const options = parseMountOptions(mount.options ?? []);
      if (!isBind(mount, options) || options.isRemount) continue;
      const isShared = ((options.propagation ?? 0) & MS.SHARED) !== 0;
      if (!isShared && this.#user === undefined && !isIdMapped(mount, options)) continue;
      const tree = this.#section.room();
      this.#hostTrees.set(mount, tree);
      this.#nameMount(mount);
      this.#openTree(mount, options, tree);
    }
  }

  /** In a mount namespace of the host's root that is given up thereafter: the root file system, with mapped ids. */
  openSource(): void {
    const section = this.#section;
    const { spec, stagingDir, rootfs } = this.#options;
    const { uidMappings = [], gidMappings = [] } = spec.linux ?? {};
    const ids = this.#user === undefined ? undefined : rootIds(this.#user, uidMappings, gidMappings);
    this.#leaveHostMounts();
    this.#devices = openDevices(section, spec, stagingDir);
    mountSource(section, rootfs, stagingDir, ids);
    this.#rootTree = section.room();
    section.call('open_tree', [AT_FDCWD, section.text(stagingDir), OPEN_TREE | AT_RECURSIVE], {
      into: this.#rootTree,
    });
  }

  /** In the container's mount namespace: finds the root file system. Needs the host's rights to the staging directory. */
  openRoot(): void {
    const section = this.#section;
    const { rootfs, stagingDir } = this.#options;
    this.#leaveHostMounts();
    const open = () => {
      section.step('open the root file system');
      const args = [AT_FDCWD, section.text(stagingDir), O_PATH | O_CLOEXEC, 0] as const;
      section.call('openat', args, { into: this.#places.root });
    };
    if (this.#rootTree === undefined) mountSource(section, rootfs, stagingDir);
    else {
      open();
      const args = [
        { at: this.#rootTree },
        this.#empty,
        { at: this.#places.root },
        this.#empty,
        MOVE_BY_DESCRIPTORS,
      ];
      section.call('move_mount', args);
      this.#places.close(this.#rootTree);
      this.#places.close(this.#places.root);
    }
    open();
  }

  /** Everything in the root file system. */
  build(): void {
    const { spec, terminalTree } = this.#options;
    const section = this.#section;
    for (const mount of spec.mounts ?? []) {
      this.#nameMount(mount);
      this.#mountEntry(mount);
    }
    makeDeviceNodes(section, this.#places, { spec, opened: this.#devices });
    if (terminalTree !== undefined) {
      section.step('mount terminal at "/dev/console"');
      this.#places.openTarget('/dev/console', false);
      moveMount(section, terminalTree, this.#places);
    }
    this.#makeWorkingDirectory();
    protectPaths(section, this.#places, spec);
  }

  #nameMount(mount: OciMount): void {
    this.#section.step(`mount "${mount.source ?? mount.type}" at "${mount.destination}"`);
  }

  /** Nothing may stay shared: our own mounts, and their end, would reach the host. Shared binds were made before. */
  #leaveHostMounts(): void {
    const hearsHost = (this.#propagation() & (MS.SHARED | MS.SLAVE)) !== 0;
    const section = this.#section;
    section.step('mount "/"');
    section.call('mount', [0, section.text('/'), 0, (hearsHost ? MS.SLAVE : MS.PRIVATE) | MS.REC, 0]);
  }

  #propagation(): number {
    const name = this.#options.spec.linux?.rootfsPropagation || 'rprivate';
    const wanted = parsePropagation(name);
    if (wanted === undefined) throw new Error(`rootfsPropagation "${name}"`);
    return wanted;
  }

  #mountEntry(mount: OciMount): void {
    const options = parseMountOptions(mount.options ?? []);
    if (options.isRemount) this.#remount(mount, options);
    else if (isBind(mount, options)) this.#mountBind(mount, options);
    else if (mount.type === 'cgroup' || mount.type === 'cgroup2') this.#mountCgroup(mount);
    else this.#mountNew(mount, options);
  }

  #mountCgroup(mount: OciMount): void {
    const { spec, cgroupMounts } = this.#options;
    mountCgroups({ section: this.#section, places: this.#places, spec, cgroupMounts }, mount);
  }

  #mountNew(mount: OciMount, options: MountOptions): void {
    const { destination, type = 'none', source = type } = mount;
    const label = this.#options.spec.linux?.mountLabel;
    const isLabelled = label && !UNLABELLED_TYPES.includes(type);
    const data = [options.data, ...(isLabelled ? [`context="${label}"`] : [])].filter(Boolean).join(',');
    if (options.isCopiedUp) this.#keepSource(destination);
    const flags = options.isCopiedUp ? options.flags & ~MS.RDONLY : options.flags;
    mountAt(this.#section, this.#places, { destination, source, type, flags, data });
    if (options.isCopiedUp) this.#fill(mount, options);
    const { propagation, recursive } = options;
    if (propagation === undefined && recursive.set === 0 && recursive.clear === 0) return;
    this.#places.openTarget(destination, true);
    changeMountFlags(this.#section, this.#places.target, recursive, true);
    if (propagation !== undefined) changePropagation(this.#section, this.#places.target, propagation);
    this.#places.close(this.#places.target);
  }

  /** What is at the place, before a file system covers it. */
  #keepSource(destination: string): void {
    this.#places.openTarget(destination, true);
    this.#section.call('dup3', [{ at: this.#places.target }, COPY_SOURCE_FD, O_CLOEXEC]);
    this.#places.close(this.#places.target);
  }

  /** Lets the runtime copy it into the file system. */
  #fill(mount: OciMount, { flags }: MountOptions): void {
    const section = this.#section;
    this.#places.openTarget(mount.destination, true);
    section.call('dup3', [{ at: this.#places.target }, COPY_TARGET_FD, O_CLOEXEC]);
    waitForRuntime(section, REPORT.copyUp);
    this.#nameMount(mount);
    if ((flags & MS.RDONLY) !== 0)
      changeMountFlags(section, this.#places.target, { set: MS.RDONLY, clear: 0 });
    this.#places.close(this.#places.target);
    for (const fd of [COPY_SOURCE_FD, COPY_TARGET_FD]) section.call('close', [fd]);
  }

  /** Other flags for what is mounted at the place. */
  #remount(mount: OciMount, options: MountOptions): void {
    const section = this.#section;
    this.#places.openTarget(mount.destination, true);
    if (isBind(mount, options)) {
      changeMountFlags(section, this.#places.target, { set: options.flags, clear: options.cleared });
    } else {
      section.call('fchdir', [{ at: this.#places.target }]);
      const data = options.data === '' ? 0 : section.text(options.data);
      section.call('mount', [0, section.text('.'), 0, options.flags | MS.REMOUNT, data]);
    }
    this.#places.close(this.#places.target);
  }

  #mountBind(mount: OciMount, options: MountOptions): void {
    const opened = this.#hostTrees.get(mount);
    const tree = opened ?? this.#tree;
    if (opened === undefined) this.#openTree(mount, options, tree);
    this.#places.openTarget(mount.destination, this.#options.directories.has(mount.source ?? ''));
    moveMount(this.#section, tree, this.#places);
  }

  /** A bind with all its properties, before it has a place. */
  #openTree(mount: OciMount, options: MountOptions, tree: DataRef): void {
    const section = this.#section;
    const flags = OPEN_TREE | (options.isRecursive ? AT_RECURSIVE : 0);
    section.call('open_tree', [AT_FDCWD, section.text(mount.source ?? ''), flags], { into: tree });
    if (isIdMapped(mount, options)) this.#mapIds(mount, options, tree);
    changeMountFlags(section, tree, { set: options.flags, clear: options.cleared });
    changeMountFlags(section, tree, options.recursive, true);
    changePropagation(section, tree, options.propagation ?? MS.PRIVATE | MS.REC);
  }

  /** Without mappings of its own a mount has those of the container. */
  #mapIds(mount: OciMount, options: MountOptions, tree: DataRef): void {
    const { uidMappings, gidMappings } = mount;
    const own = uidMappings !== undefined && gidMappings !== undefined;
    const user = own ? makeUserNamespace(this.#section, { uidMappings, gidMappings }) : this.#user;
    if (user === undefined) throw new Error(`mount at "${mount.destination}": "idmap" without mappings`);
    this.#nameMount(mount);
    mapMountIds(this.#section, tree, user, options.idMap === 'all');
    if (own) this.#places.close(user);
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

  /**
   * Forgets the host's file systems: pivot_root(".", "."), pivot_root(2). Where the host's root is an initramfs, which
   * cannot be left, the root is moved over it instead.
   */
  enter(hasNoPivot: boolean): void {
    const section = this.#section;
    const [dot, root] = [section.text('.'), section.text('/')];
    section.step('enter the root file system');
    section.call('fchdir', [{ at: this.#places.root }]);
    if (hasNoPivot) {
      section.call('mount', [dot, root, 0, MS.MOVE, 0]);
      section.call('chroot', [dot]);
    } else {
      section.call('pivot_root', [dot, dot]);
      section.call('umount2', [dot, MNT_DETACH]);
    }
    section.call('chdir', [root]);
    const propagation = this.#propagation();
    if ((propagation & (MS.SHARED | MS.UNBINDABLE)) === 0) return;
    section.step('linux.rootfsPropagation');
    section.call('mount', [0, root, 0, propagation, 0]);
  }

  /**
   * Enters the root file system in a mount namespace that others are in: as a tree of mounts that belongs to no
   * namespace, so that nobody else sees it and it ends with its last process. pivot_root(2) would take the root from all.
   */
  enterFrom(namespace: DataRef): void {
    const section = this.#section;
    const flags = OPEN_TREE | AT_RECURSIVE | AT_EMPTY_PATH;
    section.step('take the root file system along');
    section.call('open_tree', [{ at: this.#places.root }, this.#empty, flags], { into: this.#tree });
    section.step('join the mount namespace');
    section.call('setns', [{ at: namespace }, CLONE.NEWNS]);
    section.step('enter the root file system');
    changeRoot(section, this.#tree);
    for (const fd of [namespace, this.#places.root]) this.#places.close(fd);
  }
}

/** chroot(2) to a directory's descriptor, which is closed. */
export function changeRoot(section: Section, directory: DataRef): void {
  section.call('fchdir', [{ at: directory }]);
  section.call('chroot', [section.text('.')]);
  section.call('close', [{ at: directory }]);
}

function isIdMapped(mount: OciMount, options: MountOptions): boolean {
  return options.idMap !== undefined || mount.uidMappings !== undefined || mount.gidMappings !== undefined;
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
