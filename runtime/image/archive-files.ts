import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { formatError, isTkadmError, TkadmError } from '../base/errors.ts';
import { createDecompressor, detectCompression, PIECE_BYTES, peek } from './decompress.ts';
import { readTar } from './tar/tar-reader.ts';

/** The files of an unpacked archive. */
export interface ArchiveFiles {
  has(name: string): boolean;
  /** Where the file is on disk, links followed. @throws IMAGE_INVALID when it is not in the archive. */
  path(name: string): string;
  /** The file's content in large pieces. @throws IMAGE_INVALID */
  open(name: string): Readable;
}

/** A name inside an archive: plain components only, nothing that leads out. */
const SAFE_NAME = /^(?!\/)(?!.*(^|\/)\.\.(\/|$))[\w./:@+-]+$/;
const MAX_LINKS = 8;

/**
 * Writes the regular files of a tar, plain, gzip or zstd, below `directory`; links are remembered, not made.
 * @throws IMAGE_INVALID when it is no tar, or a name leads out of it.
 */
export async function unpackArchive(archive: Readable, directory: string): Promise<ArchiveFiles> {
  const names = new Set<string>();
  const links = new Map<string, string>();
  try {
    for await (const entry of readTar(await decompressIfNeeded(archive))) {
      const { type, target } = entry;
      const name = checkName(entry.name);
      if (type === 'file') {
        const path = join(directory, name);
        await mkdir(dirname(path), { recursive: true });
        await pipeline(entry.content(), createWriteStream(path));
        names.add(name);
      } else if (type === 'symlink') {
        links.set(name, posix.join(posix.dirname(name), target));
      } else if (type === 'link') links.set(name, posix.normalize(target));
    }
  } catch (error) {
    archive.destroy();
    if (isTkadmError(error, 'IMAGE_INVALID')) throw error;
    const state = formatError(error);
    throw new TkadmError('IMAGE_INVALID', `Cannot load the archive: ${state}`, { cause: error });
  }
  const find = (name: string) => {
    let target = posix.normalize(name);
    for (let count = 0; links.has(target) && count < MAX_LINKS; count += 1) target = links.get(target)!;
    return names.has(target) ? target : undefined;
  };
  const path = (name: string) => {
    const found = find(name);
    if (found !== undefined) return join(directory, found);
    throw new TkadmError('IMAGE_INVALID', `Cannot load the archive: "${name}" is not in it`);
  };
  return {
    has: (name) => find(name) !== undefined,
    path,
    open: (name) => createReadStream(path(name), { highWaterMark: PIECE_BYTES }),
  };
}

function checkName(text: string): string {
  const name = posix.normalize(text).replace(/\/$/, '');
  if (SAFE_NAME.test(name)) return name;
  throw new TkadmError('IMAGE_INVALID', `Cannot load the archive: it has a file named "${text}"`);
}

async function decompressIfNeeded(stream: Readable): Promise<AsyncIterable<Uint8Array>> {
  const { head, body } = await peek(stream);
  if (head.byteLength === 0) throw new TkadmError('IMAGE_INVALID', 'Cannot load the archive: it is empty');
  const decompressor = createDecompressor(detectCompression(head), head);
  if (decompressor === undefined) return body;
  pipeline(body, decompressor).catch(() => {});
  return decompressor;
}
