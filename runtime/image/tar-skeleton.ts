import { createReadStream, createWriteStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { TkadmError } from '../base/errors.ts';

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
  #raw: Buffer[] = [];
  #rawBytes = 0;
  #isWhole = true;

  constructor(path: string) {
    this.#written = pipeline(this.#gzip, createWriteStream(path, { mode: 0o600, flush: true }));
    this.#written.catch(() => {});
  }

  /** Bytes of the archive; they are copied. */
  addRaw(bytes: Buffer): void {
    this.#raw.push(Buffer.from(bytes));
    this.#rawBytes += bytes.byteLength;
    if (this.#rawBytes > MAX_RAW_BYTES) this.#flush();
  }

  addFile(path: string, sizeBytes: number): void {
    this.#flush();
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(sizeBytes));
    this.#write(KINDS.file, Buffer.concat([size, Buffer.from(path)]));
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

  /** Waits until what was added is no longer held in memory. */
  async drained(): Promise<void> {
    if (!this.#gzip.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        this.#gzip.off('drain', done).off('close', done);
        resolve();
      };
      this.#gzip.on('drain', done).on('close', done);
    });
  }

  #flush(): void {
    if (this.#rawBytes === 0) return;
    this.#write(KINDS.raw, Buffer.concat(this.#raw));
    this.#raw = [];
    this.#rawBytes = 0;
  }

  #write(kind: number, payload: Buffer): void {
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt8(kind, 0);
    head.writeUInt32LE(payload.byteLength, 1);
    this.#gzip.write(head);
    this.#gzip.write(payload);
  }
}

const KINDS = { raw: 0, file: 1 } as const;
const HEAD_BYTES = 5;
const MAX_RAW_BYTES = 1 << 20;

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
