import { createReadStream, type Stats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { TkadmError } from '../base/errors.ts';
import { encodeTarHeader, TAR_BLOCK_BYTES, TAR_END, tarPadding } from '../base/tar-header.ts';
import { deviceNumbers } from './copy-tree.ts';
import type { Inodes } from './inodes.ts';
import type { FileChange } from './overlay-changes.ts';
import { isOpaque, isWhiteout } from './overlay-files.ts';

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
  /** Extended attributes. */
  readonly attributes?: ReadonlyMap<string, Buffer>;
}

/** File capabilities (capabilities(7)) and what programs set; labels and overlayfs' own are the node's. */
const PACKED_ATTRIBUTES = /^(security\.capability$|user\.(?!overlay\.))/;

/** A tar of files, in the order in which they come. */
export function packFiles(files: AsyncIterable<LayerFile>): Readable {
  return Readable.from(writeTar(files), { objectMode: false });
}

async function* writeTar(files: AsyncIterable<LayerFile>): AsyncGenerator<Buffer> {
  for await (const file of files) {
    const sizeBytes = contentBytes(file.content);
    yield encodeTarHeader({ ...describe(file), sizeBytes });
    if (sizeBytes === 0) continue;
    yield* readContents(file.content, sizeBytes);
    if (sizeBytes % TAR_BLOCK_BYTES !== 0) yield tarPadding(sizeBytes);
  }
  yield TAR_END;
}

/**
 * The changes that an overlay's upper directory holds, in the form of a layer: whiteouts as `.wh.` files,
 * opaque directories with `.wh..wh..opq` (OCI image-spec layer.md). Sockets are left out.
 */
export async function* readUpperDir(root: string, inodes: Inodes): AsyncGenerator<LayerFile> {
  const firstNames = new Map<number, string>();
  const walk = async function* (directory: string): AsyncGenerator<LayerFile> {
    for (const base of (await readdir(join(root, directory))).sort()) {
      const name = directory === '' ? base : `${directory}/${base}`;
      const path = join(root, name);
      const stats = await lstat(path);
      if (isWhiteout(stats)) {
        yield buildWhiteout(name, stats);
        continue;
      }
      const file = await readLayerFile(root, name, { stats, firstNames, inodes });
      if (file === undefined) continue;
      yield file;
      if (file.content.kind !== 'directory') continue;
      if (isOpaque(path, inodes)) yield { name: `${name}/.wh..wh..opq`, stats, content: EMPTY };
      yield* walk(name);
    }
  };
  yield* walk('');
}

/** The same of a whole root file system whose changes are known. */
export async function* readChanges(
  root: string,
  changes: readonly FileChange[],
  inodes: Inodes,
): AsyncGenerator<LayerFile> {
  const firstNames = new Map<number, string>();
  const parentStats = (name: string) => lstat(join(root, dirname(name)));
  for (const { kind, path } of changes) {
    const name = path.slice(1);
    if (kind === 'D') yield buildWhiteout(name, await parentStats(name));
    else {
      const stats = await lstat(join(root, name));
      const file = await readLayerFile(root, name, { stats, firstNames, inodes });
      if (file !== undefined) yield file;
    }
  }
}

function buildWhiteout(name: string, stats: Stats): LayerFile {
  const base = basename(name);
  const directory = name.slice(0, -base.length);
  const content = EMPTY;
  return { name: `${directory}.wh.${base}`, stats, content };
}

interface ReadContext {
  readonly stats: Stats;
  /** Where inodes with several names were met first. */
  readonly firstNames: Map<number, string>;
  readonly inodes: Inodes;
}

/** Undefined for a socket. */
async function readLayerFile(
  root: string,
  name: string,
  { stats, firstNames, inodes }: ReadContext,
): Promise<LayerFile | undefined> {
  const path = join(root, name);
  const content = await readContent(path, stats, firstNames.get(stats.ino));
  if (content === undefined) return undefined;
  if (content.kind === 'file' && stats.nlink > 1) firstNames.set(stats.ino, name);
  return { name, stats, content, attributes: readAttributes(path, content, inodes) };
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
  const numbers = deviceNumbers(stats);
  if (stats.isCharacterDevice()) return { kind: 'character-device', ...numbers };
  return stats.isBlockDevice() ? { kind: 'block-device', ...numbers } : undefined;
}

/** Of links the kernel keeps none that programs may set. */
function readAttributes(
  path: string,
  content: LayerFile['content'],
  inodes: Inodes,
): ReadonlyMap<string, Buffer> {
  if (content.kind !== 'file' && content.kind !== 'directory') return new Map();
  return new Map([...inodes.attributes(path)].filter(([name]) => PACKED_ATTRIBUTES.test(name)));
}

function describe({ name, stats, content, attributes }: LayerFile) {
  return {
    name: content.kind === 'directory' ? `${name}/` : name,
    type: content.kind === 'bytes' ? ('file' as const) : content.kind,
    mode: stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
    // Whole seconds: fractions would cost a header of their own for each file.
    mtimeSeconds: Math.floor(stats.mtime.getTime() / 1000),
    ...('target' in content ? { target: content.target } : {}),
    ...('major' in content ? { major: content.major, minor: content.minor } : {}),
    ...(attributes ? { attributes } : {}),
  };
}

function contentBytes(content: LayerFile['content']): number {
  if (content.kind === 'file') return content.sizeBytes;
  return content.kind === 'bytes' ? content.bytes.byteLength : 0;
}

/** Exactly `sizeBytes`: a file that changes meanwhile must not break the archive. */
async function* readContents(content: LayerFile['content'], sizeBytes: number): AsyncGenerator<Buffer> {
  if (content.kind === 'bytes') yield Buffer.from(content.bytes);
  if (content.kind !== 'file') return;
  let count = 0;
  for await (const chunk of createReadStream(content.hostPath, { end: sizeBytes - 1 })) {
    count += (chunk as Buffer).byteLength;
    yield chunk as Buffer;
  }
  if (count === sizeBytes) return;
  throw new TkadmError('IMAGE_UNPACK', `Cannot pack "${content.hostPath}": it became shorter meanwhile`);
}
