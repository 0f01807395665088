import type { Stats } from 'node:fs';
import { chmod, lchown, link, lstat, lutimes, mkdir, open, rm, symlink, utimes } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Header } from 'tar-stream';
import { extract } from 'tar-stream';
import { isSystemError, TkadmError } from '../base/errors.ts';
import type { Inodes } from './inodes.ts';
import { isWhiteout, OPAQUE_ATTRIBUTE } from './overlay-files.ts';
import { resolveInRoot } from './root-path.ts';
import { feedTar } from './tar-feed.ts';

export interface UnpackResult {
  /** Sum of the files' sizes. */
  readonly sizeBytes: number;
  readonly inodes: number;
}

interface Entry extends AsyncIterable<Uint8Array> {
  readonly header: Header;
  resume(): unknown;
}

const WHITEOUT_PREFIX = '.wh.';
const OPAQUE_MARKER = '.wh..wh..opq';
const XATTR_PREFIX = 'SCHILY.xattr.';
const S_IFCHR = 0o020000;
const S_IFBLK = 0o060000;
const S_IFIFO = 0o010000;

/**
 * Unpacks an uncompressed layer tar (OCI image-spec layer.md) into the directory `root`, whiteouts in
 * overlayfs' form (Documentation/filesystems/overlayfs.rst): a removed name is a character device 0:0, an opaque
 * directory has the attribute trusted.overlay.opaque. Nothing is written outside `root`: links on the way
 * are followed as if `root` were "/".
 * @throws IMAGE_UNPACK naming the entry that cannot be unpacked.
 */
export async function unpackLayer(tar: Readable, root: string, inodes: Inodes): Promise<UnpackResult> {
  const unpacker = new Unpacker(root, inodes);
  const entries = extract();
  const feeding = feedTar(tar, entries);
  feeding.catch(() => {});
  try {
    for await (const entry of entries as AsyncIterable<unknown> as AsyncIterable<Entry>)
      await unpacker.add(entry);
    await feeding;
  } catch (error) {
    tar.destroy();
    throw error instanceof TkadmError
      ? error
      : new TkadmError('IMAGE_UNPACK', `Cannot unpack layer: ${(error as Error).message}`, { cause: error });
  }
  await unpacker.finish();
  return { sizeBytes: unpacker.sizeBytes, inodes: unpacker.inodes };
}

/** The state of one layer being unpacked: directories' times are set last, as their entries change them. */
class Unpacker {
  sizeBytes = 0;
  inodes = 0;
  readonly #root: string;
  readonly #inodes: Inodes;
  readonly #directoryTimes = new Map<string, Date>();

  constructor(root: string, inodes: Inodes) {
    this.#root = root;
    this.#inodes = inodes;
  }

  async add(entry: Entry): Promise<void> {
    const name = checkName(entry.header.name);
    try {
      if (name === '') await this.#addRoot(entry.header);
      else await this.#addAt(entry, name);
      entry.resume();
    } catch (error) {
      if (error instanceof TkadmError) throw error;
      throw new TkadmError('IMAGE_UNPACK', `Cannot unpack "${name}": ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async finish(): Promise<void> {
    for (const [path, time] of this.#directoryTimes) {
      if ((await statIfExists(path))?.isDirectory()) await utimes(path, time, time);
    }
  }

  async #addRoot(header: Header): Promise<void> {
    await this.#setOwner(this.#root, header);
    await chmod(this.#root, header.mode & 0o7777);
  }

  async #addAt(entry: Entry, name: string): Promise<void> {
    const parent = await this.#makeParent(dirname(name));
    const base = basename(name);
    if (base === OPAQUE_MARKER) {
      this.#hideLower(parent);
    } else if (base.startsWith(WHITEOUT_PREFIX)) {
      await this.#whiteout(join(parent, checkName(base.slice(WHITEOUT_PREFIX.length))));
    } else await this.#put(entry, join(parent, base));
  }

  async #makeParent(name: string): Promise<string> {
    const path = await resolveInRoot(this.#root, name);
    await mkdir(path, { recursive: true, mode: 0o755 });
    return path;
  }

  /** An entry of the same layer wins over a whiteout of its name, whatever their order. */
  async #whiteout(path: string): Promise<void> {
    const old = await statIfExists(path);
    if (old === undefined) this.#inodes.mknod(path, S_IFCHR, 0, 0);
    else if (old.isDirectory()) this.#hideLower(path);
  }

  /** A directory that replaces one of a lower layer shows nothing of it. */
  #hideLower(path: string): void {
    this.#inodes.setxattr(path, OPAQUE_ATTRIBUTE, Buffer.from('y'));
  }

  async #put(entry: Entry, path: string): Promise<void> {
    const { header } = entry;
    const old = await statIfExists(path);
    const keepsDirectory = header.type === 'directory' && old?.isDirectory();
    if (old !== undefined && !keepsDirectory) await rm(path, { recursive: true, force: true });
    if (!keepsDirectory) await this.#make(entry, path);
    if (header.type === 'directory' && old !== undefined && isWhiteout(old)) this.#hideLower(path);
    if (header.type === 'link') return;
    this.inodes += 1;
    await this.#setOwner(path, header);
    if (header.type !== 'symlink') await chmod(path, header.mode & 0o7777);
    this.#setAttributes(path, entry);
    await this.#setTime(path, header);
  }

  async #make(entry: Entry, path: string): Promise<void> {
    const { header } = entry;
    const mode = header.mode;
    const [major, minor] = [header.devmajor, header.devminor];
    switch (header.type) {
      case 'directory':
        return void (await mkdir(path));
      case 'symlink':
        return symlink(header.linkname, path);
      case 'link':
        return this.#hardLink(header.linkname, path);
      case 'character-device':
        return this.#inodes.mknod(path, S_IFCHR | (mode & 0o777), major, minor);
      case 'block-device':
        return this.#inodes.mknod(path, S_IFBLK | (mode & 0o777), major, minor);
      case 'fifo':
        return this.#inodes.mknod(path, S_IFIFO | (mode & 0o777), 0, 0);
      case 'file':
      case 'contiguous-file':
        return this.#writeFile(entry, path);
      default:
        throw new TkadmError('IMAGE_UNPACK', `Cannot unpack "${header.name}": entry type "${header.type}"`);
    }
  }

  async #hardLink(linkname: string, path: string): Promise<void> {
    const name = checkName(linkname);
    const target = join(await resolveInRoot(this.#root, dirname(name)), basename(name));
    if ((await statIfExists(target)) === undefined) {
      throw new TkadmError('IMAGE_UNPACK', `Cannot link to "${linkname}": it is not in this layer`);
    }
    await link(target, path);
  }

  async #writeFile(entry: Entry, path: string): Promise<void> {
    const file = await open(path, 'wx', 0o600);
    try {
      for await (const chunk of entry) {
        await file.writeFile(chunk);
        this.sizeBytes += chunk.byteLength;
      }
    } finally {
      await file.close();
    }
  }

  async #setOwner(path: string, header: Header): Promise<void> {
    await lchown(path, header.uid, header.gid);
  }

  #setAttributes(path: string, entry: Entry): void {
    const pax = (entry.header.pax ?? {}) as Readonly<Record<string, string>>;
    for (const [key, value] of Object.entries(pax)) {
      if (!key.startsWith(XATTR_PREFIX)) continue;
      const name = key.slice(XATTR_PREFIX.length);
      // tar-stream reads pax values as UTF-8, so that other bytes are lost.
      if (value.includes('\ufffd')) {
        throw new TkadmError(
          'IMAGE_UNPACK',
          `Cannot unpack "${entry.header.name}": binary attribute "${name}"`,
        );
      }
      this.#inodes.setxattr(path, name, Buffer.from(value));
    }
  }

  async #setTime(path: string, header: Header): Promise<void> {
    const time = header.mtime;
    if (header.type === 'directory') this.#directoryTimes.set(path, time);
    else await lutimes(path, time, time);
  }
}

/** The entry's name relative to the root, "" for the root itself. @throws IMAGE_UNPACK when ".." is in it */
function checkName(name: string): string {
  const components = name.split('/').filter((component) => component !== '' && component !== '.');
  if (components.includes('..') || name.includes('\0')) {
    throw new TkadmError('IMAGE_UNPACK', `Cannot unpack "${name}": the path leads out of the layer`);
  }
  return components.join('/');
}

async function statIfExists(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined;
    throw error;
  }
}
