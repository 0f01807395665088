import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { posix } from 'node:path';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import type { LayerFile } from '../pack.ts';
import { feedTar } from '../tar-feed.ts';

export type ArchiveKind = 'tar' | 'tar+gzip' | 'bzip2' | 'xz' | 'zstd';

/** Magic numbers, at the beginning of the file. */
const COMPRESSIONS = [
  { kind: 'bzip2', magic: '425a68' },
  { kind: 'xz', magic: 'fd377a585a00' },
  { kind: 'zstd', magic: '28b52ffd' },
] as const satisfies readonly { readonly kind: ArchiveKind; readonly magic: string }[];

const BLOCK_BYTES = 512;

/** What ADD would unpack, known by the content; undefined for any other file. */
export async function detectArchive(path: string): Promise<ArchiveKind | undefined> {
  const head = await readHead(path);
  if (isTar(head)) return 'tar';
  const hex = head.subarray(0, 6).toString('hex');
  if (hex.startsWith('1f8b')) return isTar(await readGunzippedHead(path)) ? 'tar+gzip' : undefined;
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

async function readGunzippedHead(path: string): Promise<Buffer> {
  const source = createReadStream(path);
  const plain = source.pipe(createGunzip());
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of plain as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      if (Buffer.concat(chunks).length >= BLOCK_BYTES) break;
    }
  } catch {
    return Buffer.alloc(0);
  } finally {
    source.destroy();
  }
  return Buffer.concat(chunks);
}

/** POSIX.1-1988 ustar: "ustar" at byte 257 of the header. */
function isTar(head: Buffer): boolean {
  return head.subarray(257, 262).toString('latin1') === 'ustar';
}

/** The files of a tar, below the directory `base` of the image. */
export async function* readArchive(
  path: string,
  kind: 'tar' | 'tar+gzip',
  base: string,
): AsyncGenerator<LayerFile> {
  const entries = extract();
  const raw = createReadStream(path);
  const feeding = feedTar(kind === 'tar' ? raw : raw.pipe(createGunzip()), entries);
  feeding.catch(() => {});
  const inside = (name: string) => posix.join(base, posix.normalize(`/${name}`)).replace(/^\/|\/$/g, '');
  for await (const entry of entries) {
    const { name, type, mode = 0o644, uid = 0, gid = 0, mtime = new Date(0), linkname } = entry.header;
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    const content = toContent(type ?? 'file', Buffer.concat(chunks), linkname ?? '', inside);
    if (inside(name) !== '' && content)
      yield { name: inside(name), stats: { mode, uid, gid, mtime }, content };
  }
  await feeding;
}

function toContent(
  type: string,
  bytes: Buffer,
  linkname: string,
  inside: (name: string) => string,
): LayerFile['content'] | undefined {
  if (type === 'directory') return { kind: 'directory' };
  if (type === 'symlink') return { kind: 'symlink', target: linkname };
  if (type === 'link') return { kind: 'link', target: inside(linkname) };
  return type === 'file' || type === 'contiguous-file' ? { kind: 'bytes', bytes } : undefined;
}
