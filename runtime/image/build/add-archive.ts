import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { posix } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createDecompressor, detectCompression, peek } from '../decompress.ts';
import type { LayerFile } from '../pack.ts';
import { readTar, type TarEntry } from '../tar/tar-reader.ts';

export type ArchiveKind = 'tar' | 'tar+gzip' | 'tar+zstd' | 'bzip2' | 'xz';

/** Magic numbers, at the beginning of the file. */
const COMPRESSIONS = [
  { kind: 'bzip2', magic: '425a68' },
  { kind: 'xz', magic: 'fd377a585a00' },
] as const satisfies readonly { readonly kind: ArchiveKind; readonly magic: string }[];

const BLOCK_BYTES = 512;

/** What ADD would unpack, known by the content; undefined for any other file. */
export async function detectArchive(path: string): Promise<ArchiveKind | undefined> {
  const head = await readHead(path);
  if (isTar(head)) return 'tar';
  const hex = head.subarray(0, 6).toString('hex');
  const compression = detectCompression(head);
  if (compression !== 'none') return isTar(await readPlainHead(path)) ? `tar+${compression}` : undefined;
  return COMPRESSIONS.find(({ magic }) => hex.startsWith(magic))?.kind;
}

async function readHead(path: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const head = Buffer.alloc(BLOCK_BYTES);
    await file.read(head, 0, BLOCK_BYTES, 0);
    return head;
  } finally {
    await file.close();
  }
}

async function readPlainHead(path: string): Promise<Buffer> {
  const source = createReadStream(path);
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of await decompress(source)) {
      chunks.push(chunk as Buffer);
      if (Buffer.concat(chunks).length >= BLOCK_BYTES) break;
    }
  } catch {
    return Buffer.alloc(0);
  } finally {
    source.destroy();
  }
  return Buffer.concat(chunks);
}

async function decompress(source: Readable): Promise<AsyncIterable<Uint8Array>> {
  const { head, body } = await peek(source);
  const decompressor = createDecompressor(detectCompression(head), head);
  if (decompressor === undefined) return body;
  pipeline(body, decompressor).catch(() => {});
  return decompressor;
}

/** POSIX.1-1988 ustar: "ustar" at byte 257 of the header. */
function isTar(head: Buffer): boolean {
  return head.subarray(257, 262).toString('latin1') === 'ustar';
}

/** The files of a tar, below the directory `base` of the image. */
export async function* readArchive(path: string, base: string): AsyncGenerator<LayerFile> {
  const inside = (name: string) => posix.join(base, posix.normalize(`/${name}`)).replace(/^\/|\/$/g, '');
  for await (const entry of readTar(await decompress(createReadStream(path)))) {
    const content = await readContent(entry, inside);
    const name = inside(entry.name);
    if (name === '' || !content) continue;
    const { mode, uid, gid, mtimeSeconds, attributes } = entry;
    yield { name, stats: { mode, uid, gid, mtime: new Date(mtimeSeconds * 1000) }, content, attributes };
  }
}

async function readContent(
  entry: TarEntry,
  inside: (name: string) => string,
): Promise<LayerFile['content'] | undefined> {
  if (entry.type === 'directory') return { kind: 'directory' };
  if (entry.type === 'symlink') return { kind: 'symlink', target: entry.target };
  if (entry.type === 'link') return { kind: 'link', target: inside(entry.target) };
  if (entry.type !== 'file') return undefined;
  const pieces: Buffer[] = [];
  for await (const piece of entry.content()) pieces.push(Buffer.from(piece));
  return { kind: 'bytes', bytes: spread(Buffer.concat(pieces), entry) };
}

/** The content of a sparse file with its holes. */
function spread(stored: Buffer, { pieces, fileBytes }: TarEntry): Buffer {
  if (pieces === undefined) return stored;
  const whole = Buffer.alloc(fileBytes);
  let start = 0;
  for (const { offset, lengthBytes } of pieces) {
    stored.copy(whole, offset, start, start + lengthBytes);
    start += lengthBytes;
  }
  return whole;
}
