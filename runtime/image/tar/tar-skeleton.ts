import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { drained } from '../../base/drained.ts';
import { TkadmError } from '../../base/errors.ts';

/**
 * A layer's tar without the files' contents, from which it can be made again byte by byte: its digest stands in image
 * configurations, and no two programs write the same tar. Gzip of records:
 *
 *   u8 kind, u32 length, payload      kind 0: bytes of the archive
 *                                     kind 1: u64 size, path below the layer's directory: a file's content
 */
export class TarSkeleton {
  readonly #gzip = createGzip({ level: 1 });
  readonly #written: Promise<void>;
  /** Records that wait to be compressed together: each write to zlib costs a turn of the event loop. */
  #pending = Buffer.allocUnsafe(PENDING_BYTES);
  #length = 0;
  /** Where the record of raw bytes begins that is still growing. */
  #rawStart: number | undefined;
  #isWhole = true;

  constructor(path: string) {
    this.#written = pipeline(this.#gzip, createWriteStream(path, { mode: 0o600 }));
    this.#written.catch(() => {});
  }

  /** Bytes of the archive; they are copied. */
  addRaw(bytes: Buffer): void {
    this.#rawStart ??= this.#begin(KINDS.raw);
    for (let rest = bytes; rest.byteLength > 0; ) {
      const part = rest.subarray(0, this.#pending.byteLength - this.#length);
      this.#length += part.copy(this.#pending, this.#length);
      rest = rest.subarray(part.byteLength);
      if (rest.byteLength === 0) break;
      this.#flush();
      this.#rawStart = this.#begin(KINDS.raw);
    }
  }

  addFile(path: string, sizeBytes: number): void {
    this.#endRaw();
    const name = Buffer.from(path);
    const start = this.#begin(KINDS.file, HEAD_BYTES + 8 + name.byteLength);
    this.#pending.writeUInt32LE(8 + name.byteLength, start + 1);
    this.#pending.writeBigUInt64LE(BigInt(sizeBytes), this.#length);
    this.#length += 8 + name.copy(this.#pending, this.#length + 8);
  }

  /** The content of a file is lost, because a later entry of the same layer replaced it. */
  giveUp(): void {
    this.#isWhole = false;
  }

  /** Returns whether the archive can be made again. */
  async finish(): Promise<boolean> {
    this.#flush();
    this.#gzip.end();
    await this.#written;
    return this.#isWhole;
  }

  async abandon(): Promise<void> {
    this.#gzip.destroy();
    await this.#written.catch(() => {});
  }

  /** True while more is held in memory than should be: `drained` then waits. */
  get isFull(): boolean {
    return this.#gzip.writableNeedDrain;
  }

  /** Waits until what was added is no longer held in memory. */
  async drained(): Promise<void> {
    if (this.isFull) await drained(this.#gzip);
  }

  /** Makes room for a record and writes its kind; the length is filled in at its end. */
  #begin(kind: number, wholeBytes = MIN_RAW_BYTES): number {
    if (this.#length + wholeBytes > this.#pending.byteLength) this.#flush(wholeBytes);
    const start = this.#length;
    this.#pending.writeUInt8(kind, start);
    this.#length += HEAD_BYTES;
    return start;
  }

  #endRaw(): void {
    if (this.#rawStart === undefined) return;
    this.#pending.writeUInt32LE(this.#length - this.#rawStart - HEAD_BYTES, this.#rawStart + 1);
    this.#rawStart = undefined;
  }

  #flush(neededBytes = 0): void {
    this.#endRaw();
    if (this.#length > 0) this.#gzip.write(this.#pending.subarray(0, this.#length));
    // The old buffer is zlib's until it is compressed.
    this.#pending = Buffer.allocUnsafe(Math.max(PENDING_BYTES, neededBytes));
    this.#length = 0;
  }
}

const KINDS = { raw: 0, file: 1 } as const;
const HEAD_BYTES = 5;
const PENDING_BYTES = 1 << 18;
/** A record of raw bytes begins only where at least a header fits. */
const MIN_RAW_BYTES = 1 << 10;

/** The layer's tar, from its skeleton and its directory. Errors end the stream. */
export function assembleTar(skeletonPath: string, directory: string): Readable {
  return Readable.from(assemble(skeletonPath, directory), { objectMode: false });
}

async function* assemble(skeletonPath: string, directory: string): AsyncGenerator<Buffer> {
  const source = createReadStream(skeletonPath);
  const plain = source.pipe(createGunzip());
  source.on('error', (error) => plain.destroy(error));
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of plain as AsyncIterable<Buffer>) {
    rest = rest.byteLength === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (;;) {
      const end = rest.byteLength < HEAD_BYTES ? Number.POSITIVE_INFINITY : HEAD_BYTES + rest.readUInt32LE(1);
      if (rest.byteLength < end) break;
      const payload = rest.subarray(HEAD_BYTES, end);
      if (rest[0] === KINDS.raw) yield payload;
      else
        yield* readContent(join(directory, payload.toString('utf8', 8)), Number(payload.readBigUInt64LE(0)));
      rest = rest.subarray(end);
    }
  }
  if (rest.byteLength > 0) throw damaged(skeletonPath);
}

async function* readContent(path: string, sizeBytes: number): AsyncGenerator<Buffer> {
  if (sizeBytes === 0) return;
  let count = 0;
  for await (const chunk of createReadStream(path, { end: sizeBytes - 1, highWaterMark: 1 << 18 })) {
    count += (chunk as Buffer).byteLength;
    yield chunk as Buffer;
  }
  if (count !== sizeBytes) throw damaged(path);
}

function damaged(path: string): TkadmError {
  return new TkadmError('IMAGE_INVALID', `Cannot make the layer again: "${path}" is damaged`);
}
