import { basename, dirname } from 'node:path';
import { OPEN } from '../kernel-constants.ts';
import type { SeccompArchitecture } from '../seccomp/syscall-numbers.ts';
import { type DataRef, failed, type Label, type Section } from './program.ts';

const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
/** Both differ between the architectures, <asm/fcntl.h>. */
const OPEN_FLAGS = {
  x64: { directory: 0o200000, noFollow: 0o400000 },
  arm64: { directory: 0o40000, noFollow: 0o100000 },
} as const;
/** openat2(2): RESOLVE_NO_MAGICLINKS | RESOLVE_IN_ROOT */
const RESOLVE = 0x12;
const RESOLVE_NO_SYMLINKS = 4;

/**
 * Places in a root file system, found as if it were "/" and used by their descriptors: no link and no ".." of an image
 * leads out.
 */
export class RootPlaces {
  /** The root's descriptor. */
  readonly root: DataRef;
  /** The descriptor of the place that was opened last. */
  readonly target: DataRef;
  readonly #parent: DataRef;
  readonly #section: Section;
  readonly #flags: (typeof OPEN_FLAGS)[SeccompArchitecture];

  constructor(section: Section, architecture: SeccompArchitecture) {
    this.#section = section;
    this.#flags = OPEN_FLAGS[architecture];
    [this.root, this.target, this.#parent] = [section.room(), section.room(), section.room()];
  }

  /** Opens a place; goes on at `past` when it is not there, and at `isFile` when only a directory will do. */
  openExisting(path: string, past: Label, isFile?: Label): void {
    const flags = O_PATH | O_CLOEXEC | (isFile === undefined ? 0 : this.#flags.directory);
    const on = [
      [failed('ENOENT'), past],
      [failed('ENOTDIR'), isFile ?? past],
    ] as const;
    this.#section.call('openat2', this.#inRoot(path, flags), { into: this.target, on });
  }

  /**
   * Opens a place in the root file system, which is made where it is missing: a directory or an empty file.
   * @param isPlain no part of the path may be a link
   */
  openTarget(path: string, isDirectory: boolean, isPlain = false): void {
    const section = this.#section;
    const { directory, noFollow } = this.#flags;
    const flags = O_PATH | O_CLOEXEC | (isDirectory ? directory : 0);
    const args = this.#inRoot(path, flags, isPlain ? RESOLVE | RESOLVE_NO_SYMLINKS : RESOLVE);
    const [missing, found] = [section.label(), section.label()];
    section.call('openat2', args, { into: this.target, on: [[failed('ENOENT'), missing]] });
    section.place(found);
    section.later(() => {
      section.place(missing);
      this.makeDirectories(isDirectory ? path : dirname(path));
      if (!isDirectory) {
        section.call('openat2', this.#inRoot(dirname(path), O_PATH | O_CLOEXEC | directory), {
          into: this.#parent,
        });
        const flags = OPEN.CREAT | OPEN.WRONLY | O_CLOEXEC | noFollow;
        section.call('openat', [{ at: this.#parent }, section.text(basename(path)), flags, 0o644], {
          into: this.target,
        });
        this.close(this.target);
        this.close(this.#parent);
      }
      section.call('openat2', args, { into: this.target });
      section.jump(found);
    });
  }

  /** Makes a directory and those above it; any failure leads to `onError`, or ends the program. */
  makeDirectories(path: string, onError?: Label): void {
    const section = this.#section;
    const { directory } = this.#flags;
    const option = onError === undefined ? {} : { onError };
    const parts = path.split('/').filter(Boolean);
    for (const [index, name] of parts.entries()) {
      const above = `/${parts.slice(0, index).join('/')}`;
      section.call('openat2', this.#inRoot(above, O_PATH | O_CLOEXEC | directory), {
        into: this.#parent,
        ...option,
      });
      const next = section.label();
      section.call('mkdirat', [{ at: this.#parent }, section.text(name), 0o755], {
        on: [[failed('EEXIST'), next]],
        ...option,
      });
      section.place(next);
      this.close(this.#parent);
    }
  }

  /** Arguments of openat2(2). */
  #inRoot(path: string, flags: number, resolve = RESOLVE) {
    const how = Buffer.alloc(24);
    how.writeUInt32LE(flags, 0);
    how.writeUInt32LE(resolve, 16);
    return [{ at: this.root }, this.#section.text(path), this.#section.bytes(how), how.length] as const;
  }

  close(fd: DataRef): void {
    this.#section.call('close', [{ at: fd }]);
  }
}

/** move_mount(2), by descriptors alone: MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH */
const MOVE_BY_DESCRIPTORS = 0x44;

/** Puts a mount that has no place yet onto the place that was opened last, and closes both. */
export function moveMount(section: Section, tree: DataRef, places: RootPlaces): void {
  const empty = section.text('');
  section.call('move_mount', [{ at: tree }, empty, { at: places.target }, empty, MOVE_BY_DESCRIPTORS]);
  places.close(tree);
  places.close(places.target);
}

/** File systems whose place must be a directory and no link: what is masked is looked for in them (CVE-2023-27561). */
const KERNEL_TYPES: readonly string[] = ['proc', 'sysfs'];

/** What mount(2) is told. */
export interface NewMount {
  readonly destination: string;
  readonly source: string;
  readonly type: string;
  readonly flags: number;
  /** The file system's own options. */
  readonly data: string;
}

/** mount(2) of a file system of its own onto a directory, by way of the working directory. */
export function mountAt(section: Section, places: RootPlaces, mount: NewMount): void {
  const { destination, source, type, flags, data } = mount;
  places.openTarget(destination, true, KERNEL_TYPES.includes(type));
  section.call('fchdir', [{ at: places.target }]);
  const options = data === '' ? 0 : section.text(data);
  section.call('mount', [section.text(source), section.text('.'), section.text(type), flags, options]);
  places.close(places.target);
}
