import { type Readable, Transform, type TransformCallback } from 'node:stream';
import { setImmediate as aTurn } from 'node:timers/promises';
import zlib from 'node:zlib';
import { Decompress } from 'fzstd';
import { TkadmError } from '../base/errors.ts';

/** How a layer or an archive is compressed. */
export type Compression = 'none' | 'gzip' | 'zstd';

/** By magic number: gzip (RFC 1952 §2.3.1), zstd with its skippable frames (RFC 8878 §3.1); else plain. */
export function detectCompression(head: Uint8Array): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return 'gzip';
  if (head.length < 4) return 'none';
  const magic = Buffer.from(head).readUInt32LE(0);
  return magic === ZSTD_MAGIC || magic >>> 4 === ZSTD_SKIPPABLE ? 'zstd' : 'none';
}

/** Bytes that detectCompression and the limit of a zstd window look at. */
export const HEAD_BYTES = 18;

const ZSTD_MAGIC = 0xfd2fb528;
const ZSTD_SKIPPABLE = 0x184d2a5;
/** zlib's usual pieces of 16 KiB cost more turns of the event loop than work. */
export const PIECE_BYTES = 1 << 18;
/** Compressed bytes that the decoder in JavaScript is given at once: milliseconds, unless they are of a bomb. */
const TURN_BYTES = 1 << 14;
/**
 * The window that the decoder in JavaScript holds, and moves for each block. RFC 8878 §3.1.1.1.2 wants 8 MiB at
 * least; what builders of images write stays within 32.
 */
const MAX_WINDOW_BYTES = 1 << 25;

/**
 * A stream that makes the plain bytes; undefined for what is not compressed. Node.js from 22.15 on decodes zstd by
 * itself, an older one through fzstd.
 * @throws IMAGE_INVALID when a zstd stream needs a larger window than is supported.
 */
export function createDecompressor(compression: Compression, head: Uint8Array): Transform | undefined {
  if (compression === 'none') return undefined;
  if (compression === 'gzip') return zlib.createGunzip({ chunkSize: PIECE_BYTES });
  const native = (zlib as { createZstdDecompress?: (options: object) => Transform }).createZstdDecompress;
  if (native) return native({ chunkSize: PIECE_BYTES });
  const window = zstdWindowBytes(head);
  if (window > MAX_WINDOW_BYTES) {
    throw new TkadmError(
      'IMAGE_INVALID',
      `Cannot read zstd: it needs a window of ${window} bytes, ${MAX_WINDOW_BYTES} are supported`,
      { hint: 'Compress it without --long, or run tkadm with Node.js 22.15 or newer' },
    );
  }
  return new ZstdDecoder();
}

/** Window_Size of the first frame (RFC 8878 §3.1.1.1); 0 when the head does not hold it. */
export function zstdWindowBytes(head: Uint8Array): number {
  const bytes = Buffer.from(head);
  if (bytes.length < HEAD_BYTES || bytes.readUInt32LE(0) !== ZSTD_MAGIC) return 0;
  const descriptor = bytes[4]!;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  if (!isSingleSegment) {
    const base = 2 ** (10 + (bytes[5]! >> 3));
    return base + (base / 8) * (bytes[5]! & 7);
  }
  const at = 5 + [0, 1, 2, 4][descriptor & 3]!;
  const contentBytes = [1, 2, 4, 8][descriptor >> 6]!;
  if (contentBytes === 2) return bytes.readUInt16LE(at) + 256;
  return contentBytes === 8 ? Number(bytes.readBigUInt64LE(at)) : bytes.readUIntLE(at, contentBytes);
}

/** fzstd as a stream. It does not look at the frame's checksum: a layer's own digest says more. */
class ZstdDecoder extends Transform {
  readonly #decoder = new Decompress((piece) => this.push(piece));

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#decode(chunk).then(() => done(), done);
  }

  override _flush(done: TransformCallback): void {
    this.#decode(new Uint8Array(), true).then(() => done(), done);
  }

  /** All else of the process has its turn between two pieces. */
  async #decode(chunk: Uint8Array, isLast = false): Promise<void> {
    try {
      for (let start = 0; start < chunk.byteLength; start += TURN_BYTES) {
        this.#decoder.push(chunk.subarray(start, start + TURN_BYTES));
        await aTurn();
      }
      if (isLast) this.#decoder.push(chunk, true);
    } catch (error) {
      throw new TkadmError('IMAGE_INVALID', `Cannot read zstd: ${(error as Error).message}`);
    }
  }
}

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
      yield Buffer.from(next.value);
  };
  return { head, body: body() };
}
