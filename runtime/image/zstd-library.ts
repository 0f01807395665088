import { Transform, type TransformCallback } from 'node:stream';
import { addressOf, type Declare, type NativeFunction, openLibrary } from '../base/c-library.ts';
import { TkadmError } from '../base/errors.ts';

/** What libzstd offers for streams (zstd.h); sizes are size_t, and a negative one is an error. */
interface Zstd {
  readonly create: () => NativeFunction;
  readonly free: () => NativeFunction;
  readonly decompress: () => NativeFunction;
  readonly errorName: () => NativeFunction;
}

/** ZSTD_inBuffer and ZSTD_outBuffer: address, size, position. */
const BUFFER_BYTES = 24;
const POSITION_OFFSET = 16;

/** A stream through the machine's libzstd, which works on a thread of its own; undefined where there is none. */
export function createLibraryDecoder(pieceBytes: number): Transform | undefined {
  const declare = openLibrary(['libzstd.so.1']);
  return declare && new ZstdLibraryDecoder(describe(declare), pieceBytes);
}

function describe(declare: Declare): Zstd {
  return {
    create: declare('ZSTD_createDStream', 'size_t', []),
    free: declare('ZSTD_freeDStream', 'size_t', ['size_t']),
    decompress: declare('ZSTD_decompressStream', 'int64_t', ['size_t', 'size_t', 'size_t']),
    errorName: declare('ZSTD_getErrorName', 'str', ['int64_t']),
  };
}

/** Frames one after the other, skippable ones left out (RFC 8878); a frame that has no end is an error. */
class ZstdLibraryDecoder extends Transform {
  readonly #zstd: Zstd;
  readonly #context: number;
  readonly #input = Buffer.alloc(BUFFER_BYTES);
  readonly #output = Buffer.alloc(BUFFER_BYTES);
  readonly #pieceBytes: number;
  #piece: Buffer;
  /** What the library would still like to read; 0 at the end of a frame. */
  #missing = 0;
  /** The call that is under way on another thread. */
  #running: Promise<unknown> = Promise.resolve();

  constructor(zstd: Zstd, pieceBytes: number) {
    super();
    this.#zstd = zstd;
    this.#pieceBytes = pieceBytes;
    this.#piece = Buffer.allocUnsafeSlow(pieceBytes);
    this.#context = zstd.create()();
    if (Number(this.#context) === 0) throw new Error('Cannot decode zstd: libzstd has no memory');
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#decode(chunk).then(() => done(), done);
  }

  override _flush(done: TransformCallback): void {
    done(this.#missing === 0 ? null : invalid('it ends within a frame'));
  }

  /** The context goes when nobody works with it any more. */
  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#running
      .catch(() => {})
      .then(() => {
        this.#zstd.free()(this.#context);
        done(error);
      });
  }

  async #decode(chunk: Buffer): Promise<void> {
    place(this.#input, chunk);
    for (;;) {
      const piece = this.#piece;
      place(this.#output, piece);
      const missing = await this.#call();
      if (missing < 0) throw invalid(String(this.#zstd.errorName()(missing)));
      this.#missing = missing;
      const length = position(this.#output);
      this.#give(piece, length);
      // A piece that was filled may not have been all.
      if (length < piece.byteLength && position(this.#input) === chunk.byteLength) return;
    }
  }

  #call(): Promise<number> {
    const call = new Promise<number>((resolve, reject) => {
      this.#zstd
        .decompress()
        .async(
          this.#context,
          addressOf(this.#output),
          addressOf(this.#input),
          (error: Error | null, result: number) => (error ? reject(error) : resolve(Number(result))),
        );
    });
    this.#running = call;
    return call;
  }

  /** A piece that is full is given away, a small one copied. */
  #give(piece: Buffer, length: number): void {
    if (length === 0) return;
    if (length * 2 < piece.byteLength) this.push(Buffer.from(piece.subarray(0, length)));
    else {
      this.push(piece.subarray(0, length));
      this.#piece = Buffer.allocUnsafeSlow(this.#pieceBytes);
    }
  }
}

function place(structure: Buffer, bytes: Buffer): void {
  structure.writeBigUInt64LE(addressOf(bytes), 0);
  structure.writeBigUInt64LE(BigInt(bytes.byteLength), 8);
  structure.writeBigUInt64LE(0n, POSITION_OFFSET);
}

function position(structure: Buffer): number {
  return Number(structure.readBigUInt64LE(POSITION_OFFSET));
}

function invalid(state: string): TkadmError {
  return new TkadmError('IMAGE_INVALID', `Cannot read zstd: ${state}`);
}
