import { Transform, type TransformCallback } from 'node:stream';
import { setImmediate as aTurn } from 'node:timers/promises';
import { Decompress } from 'fzstd';
import { TkadmError } from '../base/errors.ts';

export const ZSTD_MAGIC = 0xfd2fb528;
/** Bytes that tell what compression a stream has, and the window that zstd needs. */
export const HEAD_BYTES = 18;
/** Compressed bytes that the decoder is given at once: milliseconds, unless they are of a bomb. */
const TURN_BYTES = 1 << 14;

/**
 * The window that the decoder holds, and moves for each block. RFC 8878 §3.1.1.1.2 wants 8 MiB at
 * least; what builders of images write stays within 32.
 */
const MAX_WINDOW_BYTES = 1 << 25;

/**
 * zstd in JavaScript, for a stream that begins with this head.
 * @throws IMAGE_INVALID when it needs a larger window than is supported.
 */
export function createScriptDecoder(head: Uint8Array): Transform {
  const window = zstdWindowBytes(head);
  if (window > MAX_WINDOW_BYTES) {
    throw new TkadmError(
      'IMAGE_INVALID',
      `Cannot read zstd: it needs a window of ${window} bytes, ${MAX_WINDOW_BYTES} are supported`,
      { hint: 'Compress it without --long, or install libzstd' },
    );
  }
  return new ZstdScriptDecoder();
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

/** zstd in JavaScript (fzstd) as a stream. It does not look at the frame's checksum: a layer's own digest says more. */
class ZstdScriptDecoder extends Transform {
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
