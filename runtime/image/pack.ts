import { createReadStream, type Stats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { type Header, type Pack, pack } from 'tar-stream';
import { TkadmError } from '../base/errors.ts';
import type { Inodes } from './inodes.ts';
import { isOpaque, isWhiteout } from './overlay-files.ts';
import { feedTar } from './tar-feed.ts';

/** A file on its way into a layer. `content` is a host path, or the bytes themselves. */
export interface LayerFile {
  /** Inside the image, without a leading "/". */
  readonly name: string;
  readonly stats: Pick<Stats, 'mode' | 'uid' | 'gid' | 'mtime'>;
  readonly content:
    | { readonly kind: 'directory' }
    | { readonly kind: 'file'; readonly hostPath: string; readonly sizeBytes: number }
    | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
    | { readonly kind: 'symlink' | 'link'; readonly target: string }
    | {
        readonly kind: 'character-device' | 'block-device' | 'fifo';
        readonly major: number;
        readonly minor: number;
      };
  /** Extended attributes, as text. */
  readonly attributes?: Readonly<Record<string, string>>;
}

/** The attribute of file capabilities, capabilities(7). */
const CAPABILITY_ATTRIBUTE = 'security.capability';

/** A tar stream of files, in the order in which they come. */
export function packFiles(files: AsyncIterable<LayerFile>): Readable {
  const tar = pack();
  void (async () => {
    for await (const file of files) await addFile(tar, file);
    tar.finalize();
  })().catch((error) => tar.destroy(error as Error));
  return tar as unknown as Readable;
}

/**
 * The changes that an overlay's upper directory holds, in the form of a layer: whiteouts as `.wh.` files,
 * opaque directories with `.wh..wh..opq` (OCI image-spec layer.md). Sockets are left out.
 * @throws IMAGE_UNPACK for a file capability that a tar header cannot carry.
 */
export async function* readUpperDir(root: string, inodes: Inodes): AsyncGenerator<LayerFile> {
  const firstNames = new Map<number, string>();
  const walk = async function* (directory: string): AsyncGenerator<LayerFile> {
    for (const base of (await readdir(join(root, directory))).sort()) {
      const name = directory === '' ? base : `${directory}/${base}`;
      const path = join(root, name);
      const stats = await lstat(path);
      if (isWhiteout(stats)) {
        yield { name: `${name.slice(0, -base.length)}.wh.${base}`, stats, content: EMPTY };
        continue;
      }
      const content = await readContent(path, stats, firstNames.get(stats.ino));
      if (content === undefined) continue;
      if (content.kind === 'file' && stats.nlink > 1) firstNames.set(stats.ino, name);
      yield { name, stats, content, attributes: readAttributes(path, content, inodes) };
      if (content.kind !== 'directory') continue;
      if (isOpaque(path, inodes)) yield { name: `${name}/.wh..wh..opq`, stats, content: EMPTY };
      yield* walk(name);
    }
  };
  yield* walk('');
}

const EMPTY = { kind: 'bytes', bytes: new Uint8Array() } as const;

/** `firstName` is where the same inode was met before: a hard link. Undefined for a socket. */
async function readContent(
  path: string,
  stats: Stats,
  firstName: string | undefined,
): Promise<LayerFile['content'] | undefined> {
  if (stats.isDirectory()) return { kind: 'directory' };
  if (stats.isSymbolicLink()) return { kind: 'symlink', target: await readlink(path) };
  if (stats.isFile()) {
    return firstName === undefined
      ? { kind: 'file', hostPath: path, sizeBytes: stats.size }
      : { kind: 'link', target: firstName };
  }
  if (stats.isFIFO()) return { kind: 'fifo', major: 0, minor: 0 };
  const major = (stats.rdev >> 8) & 0xfff;
  const minor = (stats.rdev & 0xff) | ((stats.rdev >> 12) & 0xfff00);
  if (stats.isCharacterDevice()) return { kind: 'character-device', major, minor };
  return stats.isBlockDevice() ? { kind: 'block-device', major, minor } : undefined;
}

function readAttributes(
  path: string,
  content: LayerFile['content'],
  inodes: Inodes,
): Readonly<Record<string, string>> {
  const value = content.kind === 'file' ? inodes.getxattr(path, CAPABILITY_ATTRIBUTE) : undefined;
  if (value === undefined) return {};
  // tar-stream writes attributes as UTF-8.
  if (Buffer.from(value, 'latin1').some((byte) => byte > 0x7f)) {
    throw new TkadmError('IMAGE_UNPACK', `Cannot pack "${path}": binary attribute "${CAPABILITY_ATTRIBUTE}"`);
  }
  return { [CAPABILITY_ATTRIBUTE]: value };
}

async function addFile(tar: Pack, file: LayerFile): Promise<void> {
  const { content } = file;
  const header = buildHeader(file);
  if (content.kind === 'file') {
    const entry = tar.entry({ ...header, size: content.sizeBytes });
    // A file that grows meanwhile must not break the archive.
    const end = content.sizeBytes - 1;
    const source = end < 0 ? emptyStream() : createReadStream(content.hostPath, { end });
    const isWritten = new Promise<void>((resolve, reject) => {
      entry.once('error', reject);
      entry.once('close', () => resolve());
    });
    await Promise.all([feedTar(source, entry), isWritten]);
    return;
  }
  const bytes = content.kind === 'bytes' ? Buffer.from(content.bytes) : undefined;
  await new Promise<void>((resolve, reject) => {
    const done = (error?: Error | null) => (error ? reject(error) : resolve());
    if (bytes === undefined) tar.entry(header, done);
    else tar.entry({ ...header, size: bytes.byteLength }, bytes, done);
  });
}

function buildHeader({ name, stats, content, attributes = {} }: LayerFile): Header & { name: string } {
  const pax = Object.entries(attributes).map(([key, value]) => [`SCHILY.xattr.${key}`, value]);
  const header = {
    name: content.kind === 'directory' ? `${name}/` : name,
    type: content.kind === 'bytes' ? 'file' : content.kind,
    mode: stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
    mtime: stats.mtime,
    ...('target' in content ? { linkname: content.target } : {}),
    ...('major' in content ? { devmajor: content.major, devminor: content.minor } : {}),
    ...(pax.length > 0 ? { pax: Object.fromEntries(pax) } : {}),
  };
  return header as Header & { name: string };
}

async function* emptyStream(): AsyncGenerator<Uint8Array> {}
