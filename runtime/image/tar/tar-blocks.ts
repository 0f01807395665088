import { paddingBytes, TAR_BLOCK_BYTES } from '../../base/tar-header.ts';
import { tarFailure } from './tar-fields.ts';

/** Told all bytes of the archive but the contents that were read, in their order. */
export type RawListener = (bytes: Buffer) => void;

/** No header of a sane archive is as long: names, targets and attributes. */
const MAX_EXTENSION_BYTES = 1 << 20;

/** The bytes of an archive in blocks, and the content of the entry at hand. */
export class BlockReader {
  readonly #source: AsyncIterator<Uint8Array>;
  readonly #onRaw: RawListener;
  #chunk: Buffer = Buffer.alloc(0);
  /** Of the entry's content, not yet read. */
  #leftBytes = 0;
  #paddingBytes = 0;

  constructor(source: AsyncIterable<Uint8Array>, onRaw: RawListener) {
    this.#source = source[Symbol.asyncIterator]();
    this.#onRaw = onRaw;
  }

  get leftBytes(): number {
    return this.#leftBytes;
  }

  /** The type of the next header, if it has come whole. */
  flagNow(): string | undefined {
    return this.#chunk.byteLength < TAR_BLOCK_BYTES ? undefined : String.fromCharCode(this.#chunk[156]!);
  }

  /** The next header, if it has come. */
  blockNow(): Buffer | undefined {
    const block = this.#takeNow(TAR_BLOCK_BYTES);
    if (block) this.#onRaw(block);
    return block;
  }

  /** The next header; undefined at the end of the archive. */
  async block(): Promise<Buffer | undefined> {
    const block = await this.#take(TAR_BLOCK_BYTES);
    if (block.byteLength === 0) return undefined;
    if (block.byteLength < TAR_BLOCK_BYTES) throw tarFailure('it ends within a header');
    this.#onRaw(block);
    return block;
  }

  /** The whole content of an extension header. */
  async extension(sizeBytes: number): Promise<Buffer> {
    if (sizeBytes > MAX_EXTENSION_BYTES) throw tarFailure(`an extension header has ${sizeBytes} bytes`);
    const whole = await this.#take(sizeBytes + paddingBytes(sizeBytes));
    if (whole.byteLength < sizeBytes) throw tarFailure('it ends within an extension header');
    this.#onRaw(whole);
    return whole.subarray(0, sizeBytes);
  }

  begin(contentBytes: number): void {
    this.#leftBytes = contentBytes;
    this.#paddingBytes = paddingBytes(contentBytes);
  }

  /** A block of sparse entries behind the header, which the entry's size does not count. */
  async extraBlock(): Promise<Buffer> {
    const block = await this.block();
    if (block === undefined) throw tarFailure('it ends within a sparse file');
    return block;
  }

  /** A block at the begin of the content that belongs to its description. */
  async contentBlock(): Promise<Buffer> {
    this.#leftBytes -= TAR_BLOCK_BYTES;
    if (this.#leftBytes < 0) throw tarFailure('the map of a sparse file is longer than the file');
    return this.extraBlock();
  }

  async *content(): AsyncGenerator<Buffer> {
    while (this.#leftBytes > 0) {
      const piece = await this.#some(this.#leftBytes);
      if (piece === undefined) throw tarFailure('it ends within a file');
      this.#leftBytes -= piece.byteLength;
      yield piece;
    }
  }

  contentNow(maxBytes: number): Buffer | undefined {
    if (this.#leftBytes > maxBytes) return undefined;
    const content = this.#takeNow(this.#leftBytes);
    if (content) this.#leftBytes = 0;
    return content;
  }

  /** `skip` when all of that has come; false when it has not. */
  skipNow(): boolean {
    const rest = this.#takeNow(this.#leftBytes + this.#paddingBytes);
    if (rest === undefined) return false;
    this.begin(0);
    if (rest.byteLength > 0) this.#onRaw(rest);
    return true;
  }

  /** Passes what was not read of the content, and the bytes that fill up its last block. */
  async skip(): Promise<void> {
    let left = this.#leftBytes + this.#paddingBytes;
    this.begin(0);
    while (left > 0) {
      const piece = await this.#some(left);
      if (piece === undefined) throw tarFailure('it ends within a file');
      this.#onRaw(piece);
      left -= piece.byteLength;
    }
  }

  /** What follows the end: tar fills up the last record. */
  async drain(): Promise<void> {
    for (let piece = await this.#some(); piece !== undefined; piece = await this.#some()) this.#onRaw(piece);
  }

  /** So many bytes without a copy, if they have come in one piece. */
  #takeNow(count: number): Buffer | undefined {
    if (count > this.#chunk.byteLength) return undefined;
    const piece = this.#chunk.subarray(0, count);
    this.#chunk = this.#chunk.subarray(count);
    return piece;
  }

  /** Exactly so many bytes; fewer at the end of the stream. */
  async #take(count: number): Promise<Buffer> {
    const first = (await this.#some(count)) ?? Buffer.alloc(0);
    if (first.byteLength === count) return first;
    const pieces = [first];
    for (let length = first.byteLength; length < count; ) {
      const piece = await this.#some(count - length);
      if (piece === undefined) break;
      pieces.push(piece);
      length += piece.byteLength;
    }
    return Buffer.concat(pieces);
  }

  /** At least a byte and at most so many, without a copy; undefined at the end. */
  async #some(count = Number.POSITIVE_INFINITY): Promise<Buffer | undefined> {
    while (this.#chunk.byteLength === 0) {
      const next = await this.#source.next();
      if (next.done) return undefined;
      this.#chunk = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
    }
    const piece = this.#chunk.subarray(0, Math.min(count, this.#chunk.byteLength));
    this.#chunk = this.#chunk.subarray(piece.byteLength);
    return piece;
  }
}
