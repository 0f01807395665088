import type { Readable, Transform } from 'node:stream';
import zlib from 'node:zlib';
import { createLibraryDecoder } from './zstd-library.ts';
import { createScriptDecoder, HEAD_BYTES, ZSTD_MAGIC } from './zstd-script.ts';

/** How a layer or an archive is compressed. */
export type Compression = 'none' | 'gzip' | 'zstd';

/** By magic number: gzip (RFC 1952 §2.3.1), zstd with its skippable frames (RFC 8878 §3.1); else plain. */
export function detectCompression(head: Uint8Array): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  if (head.length < 4) return 'none';
  const magic = Buffer.from(head).readUInt32LE(0);
  return magic === ZSTD_MAGIC || magic >>> 4 === ZSTD_SKIPPABLE ? 'zstd' : 'none';
}

const ZSTD_SKIPPABLE = 0x184d2a5;
/** zlib's usual pieces of 16 KiB cost more turns of the event loop than work. */
export const PIECE_BYTES = 1 << 18;
/**
 * A stream that makes the plain bytes; undefined for what is not compressed. zstd is decoded by Node.js from 22.15
 * on, else by the machine's libzstd, else in JavaScript.
 * @throws IMAGE_INVALID when a zstd stream needs a larger window than is supported.
 */
export function createDecompressor(compression: Compression, head: Uint8Array): Transform | undefined {
  if (compression === 'none') return undefined;
  if (compression === 'gzip') return zlib.createGunzip({ chunkSize: PIECE_BYTES });
  return ZSTD_DECODERS.node() ?? ZSTD_DECODERS.library() ?? ZSTD_DECODERS.script(head);
}

/** What decodes zstd, the quickest first; undefined where there is none of the kind. */
export const ZSTD_DECODERS = {
  /** Node.js from 22.15 on. */
  node: (): Transform | undefined =>
    (zlib as { createZstdDecompress?: (options: object) => Transform }).createZstdDecompress?.({
      chunkSize: PIECE_BYTES,
    }),
  library: (): Transform | undefined => createLibraryDecoder(PIECE_BYTES),
  /** @throws IMAGE_INVALID when the stream needs a larger window than is supported. */
  script: (head: Uint8Array): Transform => createScriptDecoder(head),
} as const;

/** The first bytes of a stream, and the whole stream again. */
export async function peek(
  stream: Readable,
): Promise<{ readonly head: Buffer; readonly body: AsyncGenerator<Buffer> }> {
  const source = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  const first: Uint8Array[] = [];
  let length = 0;
  while (length < HEAD_BYTES) {
    const next = await source.next();
    if (next.done) break;
    first.push(next.value);
    length += next.value.byteLength;
  }
  const head = Buffer.concat(first);
  const body = async function* () {
    if (head.byteLength > 0) yield head;
    for (let next = await source.next(); !next.done; next = await source.next())
      yield Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
  };
  return { head, body: body() };
}
