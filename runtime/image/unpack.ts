import {
  chmodSync,
  closeSync,
  fchmodSync,
  fchownSync,
  futimesSync,
  lchownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  rmSync,
  type Stats,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { isSystemError, isTkadmError, TkadmError } from '../base/errors.ts';
import { DiskRoom } from './disk-room.ts';
import type { Inodes } from './inodes.ts';
import { isWhiteout, OPAQUE_ATTRIBUTE } from './overlay-files.ts';
import { resolveInRoot } from './root-path.ts';
import { type TarEntry, TarReader } from './tar/tar-reader.ts';
import type { TarSkeleton } from './tar/tar-skeleton.ts';
import { writeSparse } from './tar/write-sparse.ts';
import { SMALL_PIECE_BYTES, writeWhole } from './write-whole.ts';

export interface UnpackResult {
  /** Sum of the files' sizes. */
  readonly sizeBytes: number;
  readonly inodes: number;
}

export interface UnpackOptions {
  readonly inodes: Inodes;
  /** Told everything that the archive needs to be made again. */
  readonly skeleton?: TarSkeleton | undefined;
}

const WHITEOUT_PREFIX = '.wh.';
const OPAQUE_MARKER = '.wh..wh..opq';
const SPECIAL_FILES = { 'character-device': 0o020000, 'block-device': 0o060000, fifo: 0o010000 } as const;
const OVERLAY_ATTRIBUTE = /^(trusted|user)\.overlay\./;

/**
 * Unpacks an uncompressed layer tar (OCI image-spec layer.md) into the directory `root`, whiteouts in
 * overlayfs' form (Documentation/filesystems/overlayfs.rst): a removed name is a character device 0:0, an opaque
 * directory has the attribute trusted.overlay.opaque. Nothing is written outside `root`: links on the way
 * are followed as if `root` were "/".
 * @throws IMAGE_UNPACK naming the entry that cannot be unpacked.
 */
export async function unpackLayer(
  tar: AsyncIterable<Uint8Array>,
  root: string,
  { inodes, skeleton }: UnpackOptions,
): Promise<UnpackResult> {
  const unpacker = new Unpacker(root, inodes, skeleton);
  try {
    const reader = new TarReader(tar, (bytes) => skeleton?.addRaw(bytes));
    for (;;) {
      const entry = reader.nextNow() ?? (await reader.next());
      if (entry === undefined) break;
      const adding = unpacker.add(entry);
      if (adding) await adding;
      if (skeleton?.isFull) await skeleton.drained();
    }
  } catch (error) {
    throw error instanceof TkadmError
      ? error
      : new TkadmError('IMAGE_UNPACK', `Cannot unpack layer: ${(error as Error).message}`, { cause: error });
  }
  unpacker.finish();
  return { sizeBytes: unpacker.sizeBytes, inodes: unpacker.inodes };
}

/** The state of one layer being unpacked: directories' times are set last, as their entries change them. */
class Unpacker {
  sizeBytes = 0;
  readonly #root: string;
  readonly #inodes: Inodes;
  readonly #skeleton: TarSkeleton | undefined;
  readonly #room: DiskRoom;
  readonly #directoryTimes = new Map<string, number>();
  /** Host paths of directories by name, as long as nothing on the way was replaced. */
  readonly #parents = new Map<string, string>();

  constructor(root: string, inodes: Inodes, skeleton: TarSkeleton | undefined) {
    this.#root = resolve(root);
    this.#inodes = inodes;
    this.#skeleton = skeleton;
    this.#room = new DiskRoom(root);
  }

  get inodes(): number {
    return this.#room.inodes;
  }

  /** A promise when the entry needs bytes that have not come yet, or a thread of the pool. */
  add(entry: TarEntry): void | Promise<void> {
    const name = checkName(entry.name);
    try {
      const adding = name === '' ? this.#addRoot(entry) : this.#addAt(entry, name);
      return adding?.catch((error: unknown) => {
        throw nameEntry(error, name);
      });
    } catch (error) {
      throw nameEntry(error, name);
    }
  }

  finish(): void {
    for (const [path, time] of this.#directoryTimes) {
      if (statIfExists(path)?.isDirectory()) utimesSync(path, time, time);
    }
  }

  #addRoot({ uid, gid, mode }: TarEntry): void {
    lchownSync(this.#root, uid, gid);
    chmodSync(this.#root, mode);
  }

  #addAt(entry: TarEntry, name: string): void | Promise<void> {
    const parent = this.#makeParent(dirname(name));
    const base = basename(name);
    if (base === OPAQUE_MARKER) {
      this.#hideLower(parent);
    } else if (base.startsWith(WHITEOUT_PREFIX)) {
      this.#whiteout(join(parent, checkName(base.slice(WHITEOUT_PREFIX.length))));
    } else if (entry.type === 'file') {
      return this.#putFile(entry, join(parent, base));
    } else {
      const path = join(parent, base);
      this.#put(entry, path);
      if (entry.type === 'directory') this.#parents.set(name, path);
    }
  }

  #makeParent(name: string): string {
    const known = this.#parents.get(name);
    if (known !== undefined) return known;
    const path = resolveInRoot(this.#root, name);
    mkdirSync(path, { recursive: true, mode: 0o755 });
    this.#parents.set(name, path);
    return path;
  }

  /** An entry of the same layer wins over a whiteout of its name, whatever their order. */
  #whiteout(path: string): void {
    const old = statIfExists(path);
    if (old === undefined) this.#inodes.mknod(path, SPECIAL_FILES['character-device'], 0, 0);
    else if (old.isDirectory()) this.#hideLower(path);
  }

  /** A directory that replaces one of a lower layer shows nothing of it. */
  #hideLower(path: string): void {
    this.#inodes.setxattr(path, OPAQUE_ATTRIBUTE, Buffer.from('y'));
  }

  #put(entry: TarEntry, path: string): void {
    this.#count(entry);
    const old = statIfExists(path);
    const keepsDirectory = entry.type === 'directory' && old?.isDirectory();
    if (old !== undefined && !keepsDirectory) this.#replace(path);
    if (!keepsDirectory) this.#make(entry, path);
    if (entry.type === 'directory' && old !== undefined && isWhiteout(old)) this.#hideLower(path);
    if (entry.type === 'link') return;
    lchownSync(path, entry.uid, entry.gid);
    if (entry.type !== 'symlink') chmodSync(path, entry.mode);
    for (const [name, value] of entry.attributes) this.#inodes.setxattr(path, name, value);
    const time = entry.mtimeSeconds;
    if (entry.type === 'directory') this.#directoryTimes.set(path, time);
    else lutimesSync(path, time, time);
  }

  #count(entry: TarEntry): void {
    this.#checkAttributes(entry);
    this.#room.countInode();
  }

  /** A file has what it needs done to its descriptor: names are looked up once. */
  #putFile(entry: TarEntry, path: string): void | Promise<void> {
    this.#count(entry);
    const file = this.#openNew(path);
    const content = entry.pieces === undefined ? entry.contentNow(SMALL_PIECE_BYTES) : undefined;
    if (content === undefined) {
      return this.#writeLong(entry, path, file).finally(() => closeSync(file));
    }
    try {
      this.#room.countBytes(content.byteLength);
      for (let done = 0; done < content.byteLength; ) done += writeSync(file, content, done);
      this.#skeleton?.addFile(path.slice(this.#root.length + 1), entry.sizeBytes);
      this.#finishFile(entry, path, file);
    } finally {
      closeSync(file);
    }
  }

  async #writeLong(entry: TarEntry, path: string, file: number): Promise<void> {
    if (entry.pieces !== undefined) {
      const onContent = (content: Buffer) => {
        this.#room.countBytes(content.byteLength);
        this.#skeleton?.addRaw(content);
      };
      await writeSparse(entry, entry.pieces, { file, onContent });
    } else {
      await this.#writeContent(entry, file);
      this.#skeleton?.addFile(path.slice(this.#root.length + 1), entry.sizeBytes);
    }
    this.#finishFile(entry, path, file);
  }

  #finishFile(entry: TarEntry, path: string, file: number): void {
    this.sizeBytes += entry.fileBytes;
    if (entry.uid !== 0 || entry.gid !== 0) fchownSync(file, entry.uid, entry.gid);
    fchmodSync(file, entry.mode);
    for (const [name, value] of entry.attributes) this.#inodes.setxattr(path, name, value);
    futimesSync(file, entry.mtimeSeconds, entry.mtimeSeconds);
  }

  /** Never through a link: what is there is replaced. */
  #openNew(path: string): number {
    try {
      return openSync(path, 'wx', 0o600);
    } catch (error) {
      if (!isSystemError(error, 'EEXIST')) throw error;
      this.#replace(path);
      return openSync(path, 'wx', 0o600);
    }
  }

  /** overlayfs' own attributes would let a layer show or hide files of other layers. */
  #checkAttributes({ attributes }: TarEntry): void {
    for (const name of attributes.keys()) {
      if (OVERLAY_ATTRIBUTE.test(name)) throw new Error(`it has overlayfs' own attribute "${name}"`);
    }
  }

  #replace(path: string): void {
    rmSync(path, { recursive: true, force: true });
    this.#parents.clear();
    this.#skeleton?.giveUp();
  }

  #make(entry: TarEntry, path: string): void {
    switch (entry.type) {
      case 'directory':
        mkdirSync(path);
        return;
      case 'symlink':
        symlinkSync(entry.target, path);
        return;
      case 'link':
        this.#hardLink(entry.target, path);
        return;
      case 'file':
        throw new Error('files are made elsewhere');
      default: {
        const mode = SPECIAL_FILES[entry.type] | (entry.mode & 0o777);
        this.#inodes.mknod(path, mode, entry.major, entry.minor);
      }
    }
  }

  #hardLink(target: string, path: string): void {
    const name = checkName(target);
    const source = join(resolveInRoot(this.#root, dirname(name)), basename(name));
    if (statIfExists(source) === undefined) {
      throw new TkadmError('IMAGE_UNPACK', `Cannot link to "${target}": it is not in this layer`);
    }
    linkSync(source, path);
  }

  async #writeContent(entry: TarEntry, file: number): Promise<void> {
    for await (const piece of entry.content()) {
      this.#room.countBytes(piece.byteLength);
      await writeWhole(file, piece);
    }
  }
}

/** What the stream fails with, a registry for example, is not about the entry. */
function nameEntry(error: unknown, name: string): unknown {
  const isOwn = isTkadmError(error, 'IMAGE_UNPACK') || isTkadmError(error, 'IMAGE_PATH_INVALID');
  if (error instanceof TkadmError && !isOwn) return error;
  const state = (error as Error).message.replace(/^Cannot/, 'cannot');
  return new TkadmError('IMAGE_UNPACK', `Cannot unpack "${name}": ${state}`, { cause: error });
}

/** The entry's name relative to the root, "" for the root itself. @throws IMAGE_UNPACK when ".." is in it */
function checkName(name: string): string {
  const components = name.split('/').filter((component) => component !== '' && component !== '.');
  if (components.includes('..') || name.includes('\0')) {
    throw new TkadmError('IMAGE_UNPACK', `Cannot unpack "${name}": the path leads out of the layer`);
  }
  return components.join('/');
}

function statIfExists(path: string): Stats | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    if (isSystemError(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}
