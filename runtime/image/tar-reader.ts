import { isUtf8 } from 'node:buffer';
import { TkadmError } from '../base/errors.ts';
import {
  PAX_ATTRIBUTE_PREFIX,
  TAR_BLOCK_BYTES,
  TAR_TYPES,
  type TarFile,
  type TarType,
} from '../base/tar-header.ts';

/** An entry of a tar; its content must be read, or is skipped, before the next one comes. */
export interface TarEntry extends TarFile {
  /** Pieces of the content, each valid until the next is asked for. */
  content(): AsyncIterable<Buffer>;
  /** The whole content, when it has come already and is at most as long; it counts as read. Undefined otherwise. */
  contentNow(maxBytes: number): Buffer | undefined;
  /** The content is sparse: pieces of it with their places (GNU tar, "Storing Sparse Files"); holes are zeros. */
  readonly pieces: readonly SparsePiece[] | undefined;
  /** Of the file that is made: more than `sizeBytes` when it is sparse. */
  readonly fileBytes: number;
}

export interface SparsePiece {
  readonly offset: number;
  readonly lengthBytes: number;
}

/** Told all bytes of the archive but the contents that were read, in their order. */
export type RawListener = (bytes: Buffer) => void;

/** No header of a sane archive is as long: names, targets and attributes. */
const MAX_EXTENSION_BYTES = 1 << 20;
const MAX_SPARSE_PIECES = 1 << 16;
const TYPE_NAMES = new Map<string, TarType>([
  ...(Object.entries(TAR_TYPES) as [TarType, string][]).map(([name, flag]) => [flag, name] as const),
  ['\0', 'file'],
  // "Contiguous", which nobody makes any more.
  ['7', 'file'],
]);

/** Types of entries that are described by their header alone; an archive's end has none of them. */
const PLAIN_FLAGS = '0123456';

/** What the headers before an entry say about it. */
interface Extensions {
  readonly pax: ReadonlyMap<string, Buffer>;
  readonly longName?: string;
  readonly longTarget?: string;
}

/**
 * Reads a tar: ustar, pax with its global headers, GNU long names, numbers in base 256 and sparse files (tar(5)).
 * @throws IMAGE_UNPACK when it is no tar or ends early.
 */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<TarEntry> {
  const reader = new TarReader(source);
  for (;;) {
    const entry = reader.nextNow() ?? (await reader.next());
    if (entry === undefined) return;
    yield entry;
  }
}

/** What `readTar` does, for who has no time to wait for what is there already. */
export class TarReader {
  readonly #input: BlockReader;
  #global: ReadonlyMap<string, Buffer> = new Map();

  constructor(source: AsyncIterable<Uint8Array>, onRaw: RawListener = () => {}) {
    this.#input = new BlockReader(source, onRaw);
  }

  /**
   * The next entry when its header has come and is a plain one; undefined says that `next` will tell. Thousands of
   * small files would otherwise cost more turns of the event loop than work.
   */
  nextNow(): TarEntry | undefined {
    const input = this.#input;
    if (this.#global.size > 0 || !input.skipNow()) return undefined;
    const flag = input.flagNow();
    if (flag === undefined || !PLAIN_FLAGS.includes(flag)) return undefined;
    const header = input.blockNow()!;
    checkSum(header);
    return buildEntry(input, header, { flag, extensions: { pax: this.#global } });
  }

  /** The next entry; undefined at the end of the archive. @throws IMAGE_UNPACK */
  async next(): Promise<TarEntry | undefined> {
    const input = this.#input;
    await input.skip();
    let extensions: Extensions = { pax: this.#global };
    for (;;) {
      const header = await input.block();
      if (header === undefined || header.every((byte) => byte === 0)) break;
      checkSum(header);
      const flag = String.fromCharCode(header[156]!);
      const sizeBytes = readNumber(header, 124, 12);
      if (flag === 'x' || flag === 'g') {
        const records = parsePax(await input.extension(sizeBytes));
        if (flag === 'g') this.#global = new Map([...this.#global, ...records]);
        extensions = { ...extensions, pax: new Map([...this.#global, ...(flag === 'x' ? records : [])]) };
      } else if (flag === 'L') {
        extensions = { ...extensions, longName: cString(await input.extension(sizeBytes)) };
      } else if (flag === 'K') {
        extensions = { ...extensions, longTarget: cString(await input.extension(sizeBytes)) };
      } else {
        return readEntry(input, header, { flag, extensions });
      }
    }
    await input.drain();
    return undefined;
  }
}

interface EntryFacts {
  readonly flag: string;
  readonly extensions: Extensions;
}

async function readEntry(input: BlockReader, header: Buffer, facts: EntryFacts): Promise<TarEntry> {
  const entry = buildEntry(input, header, facts);
  const isGnu = facts.flag === 'S';
  const sparse = isGnu
    ? await readGnuSparse(input, header)
    : await readPaxSparse(input, facts.extensions.pax);
  if (sparse === undefined) return entry;
  return { ...entry, sizeBytes: input.leftBytes, ...sparse };
}

/** An entry whose content is all of its file. */
function buildEntry(input: BlockReader, header: Buffer, facts: EntryFacts): TarEntry {
  const { pax, longName, longTarget } = facts.extensions;
  const text = (key: string) => {
    const value = pax.get(key);
    return value && utf8(value);
  };
  const number = (key: string, offset: number, length: number) => {
    const value = text(key);
    return value === undefined ? readNumber(header, offset, length) : parseDecimal(key, value);
  };
  const name = text('GNU.sparse.name') ?? text('path') ?? longName ?? readName(header);
  const type = facts.flag === 'S' ? 'file' : TYPE_NAMES.get(facts.flag);
  if (type === undefined) throw failure(`entry "${name}" is of the unknown type "${facts.flag}"`);
  // Of links and directories some programs state a size, but no content follows.
  input.begin(type === 'file' ? number('size', 124, 12) : 0);
  const attributes = [...pax].filter(([key]) => key.startsWith(PAX_ATTRIBUTE_PREFIX));
  return {
    name,
    // Before ustar a directory was a file whose name ends with a slash.
    type: type === 'file' && name.endsWith('/') && input.leftBytes === 0 ? 'directory' : type,
    mode: readNumber(header, 100, 8) & 0o7777,
    uid: number('uid', 108, 8),
    gid: number('gid', 116, 8),
    sizeBytes: input.leftBytes,
    mtimeSeconds: number('mtime', 136, 12),
    target: text('linkpath') ?? longTarget ?? cString(header.subarray(157, 257)),
    major: readNumber(header, 329, 8),
    minor: readNumber(header, 337, 8),
    attributes: new Map(attributes.map(([key, value]) => [key.slice(PAX_ATTRIBUTE_PREFIX.length), value])),
    content: () => input.content(),
    contentNow: (maxBytes) => input.contentNow(maxBytes),
    pieces: undefined,
    fileBytes: input.leftBytes,
  };
}

interface Sparse {
  readonly pieces: readonly SparsePiece[];
  readonly fileBytes: number;
}

/** Old GNU form: 4 pieces in the header, 21 in each block behind it while its flag says so. */
async function readGnuSparse(input: BlockReader, header: Buffer): Promise<Sparse> {
  const pieces: SparsePiece[] = [];
  const add = (block: Buffer, start: number, count: number) => {
    for (let index = 0; index < count; index += 1) {
      const at = start + index * 24;
      if (block[at] === 0) return;
      pieces.push({ offset: readNumber(block, at, 12), lengthBytes: readNumber(block, at + 12, 12) });
    }
    if (pieces.length > MAX_SPARSE_PIECES) throw failure('a sparse file has too many pieces');
  };
  add(header, 386, 4);
  for (let hasMore = header[482] !== 0; hasMore; ) {
    const block = await input.extraBlock();
    add(block, 0, 21);
    hasMore = block[504] !== 0;
  }
  return { pieces, fileBytes: readNumber(header, 483, 12) };
}

/** The pax forms: the map in the records (0.1), or as decimal lines before the content (1.0). */
async function readPaxSparse(
  input: BlockReader,
  pax: ReadonlyMap<string, Buffer>,
): Promise<Sparse | undefined> {
  const decimal = (key: string) => parseDecimal(key, pax.get(key)?.toString('utf8') ?? '');
  const map = pax.get('GNU.sparse.map')?.toString('utf8');
  if (map !== undefined) {
    return { pieces: pairUp(map.split(',').map(Number)), fileBytes: decimal('GNU.sparse.size') };
  }
  if (pax.get('GNU.sparse.major')?.toString('utf8') !== '1') {
    if (pax.has('GNU.sparse.size')) throw failure('a sparse file of pax format 0.0 is not supported');
    return undefined;
  }
  const numbers: number[] = [];
  let text = '';
  do {
    text += (await input.contentBlock()).toString('latin1');
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    numbers.push(...lines.map(Number));
    if (numbers.length > 2 * MAX_SPARSE_PIECES) throw failure('a sparse file has too many pieces');
  } while (numbers.length === 0 || numbers.length < 1 + 2 * numbers[0]!);
  return {
    pieces: pairUp(numbers.slice(1, 1 + 2 * numbers[0]!)),
    fileBytes: decimal('GNU.sparse.realsize'),
  };
}

function pairUp(numbers: readonly number[]): readonly SparsePiece[] {
  if (numbers.some((value) => !Number.isSafeInteger(value) || value < 0)) {
    throw failure('the map of a sparse file holds something else than numbers');
  }
  return Array.from({ length: numbers.length >> 1 }, (_, index) => ({
    offset: numbers[2 * index]!,
    lengthBytes: numbers[2 * index + 1]!,
  }));
}

/** The bytes of an archive in blocks, and the content of the entry at hand. */
class BlockReader {
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
    if (block.byteLength < TAR_BLOCK_BYTES) throw failure('it ends within a header');
    this.#onRaw(block);
    return block;
  }

  /** The whole content of an extension header. */
  async extension(sizeBytes: number): Promise<Buffer> {
    if (sizeBytes > MAX_EXTENSION_BYTES) throw failure(`an extension header has ${sizeBytes} bytes`);
    const whole = await this.#take(sizeBytes + paddingOf(sizeBytes));
    if (whole.byteLength < sizeBytes) throw failure('it ends within an extension header');
    this.#onRaw(whole);
    return whole.subarray(0, sizeBytes);
  }

  begin(contentBytes: number): void {
    this.#leftBytes = contentBytes;
    this.#paddingBytes = paddingOf(contentBytes);
  }

  /** A block of sparse entries behind the header, which the entry's size does not count. */
  async extraBlock(): Promise<Buffer> {
    const block = await this.block();
    if (block === undefined) throw failure('it ends within a sparse file');
    return block;
  }

  /** A block at the begin of the content that belongs to its description. */
  async contentBlock(): Promise<Buffer> {
    this.#leftBytes -= TAR_BLOCK_BYTES;
    if (this.#leftBytes < 0) throw failure('the map of a sparse file is longer than the file');
    return this.extraBlock();
  }

  async *content(): AsyncGenerator<Buffer> {
    while (this.#leftBytes > 0) {
      const piece = await this.#some(this.#leftBytes);
      if (piece === undefined) throw failure('it ends within a file');
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
      if (piece === undefined) throw failure('it ends within a file');
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

function paddingOf(sizeBytes: number): number {
  return (TAR_BLOCK_BYTES - (sizeBytes % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES;
}

/** The sum of the header's bytes, its own field counted as spaces; old programs added signed bytes. */
function checkSum(header: Buffer): void {
  let unsigned = 0;
  let signed = 0;
  for (let index = 0; index < TAR_BLOCK_BYTES; index += 1) {
    const byte = index >= 148 && index < 156 ? 0x20 : header[index]!;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const stated = readNumber(header, 148, 8);
  if (stated !== unsigned && stated !== signed) throw failure('a header has a wrong checksum');
}

/** Octal digits, or base 256 when the first bit is set. */
function readNumber(block: Buffer, offset: number, length: number): number {
  const field = block.subarray(offset, offset + length);
  if (field[0]! & 0x80) {
    let value = BigInt(field[0]! & 0x7f);
    for (const byte of field.subarray(1)) value = value * 256n + BigInt(byte);
    if (field[0]! & 0x40) value -= 1n << BigInt(8 * length - 1);
    if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) {
      throw failure('a header holds a number that is too large');
    }
    return Number(value);
  }
  const text = cString(field).trim();
  if (text === '') return 0;
  if (!/^[0-7]+$/.test(text))
    throw failure(
      `a header holds ${JSON.stringify(text)} where a number should be; it is no tar, or it is damaged`,
    );
  return Number.parseInt(text, 8);
}

function parseDecimal(key: string, text: string): number {
  const value = Number(text);
  if (
    text === '' ||
    !Number.isFinite(value) ||
    (key !== 'mtime' && (value < 0 || !Number.isSafeInteger(value)))
  ) {
    throw failure(`"${key}" of a pax header is "${text}"`);
  }
  return value;
}

/** ustar's prefix and name; GNU's own format has other fields in the place of the prefix. */
function readName(header: Buffer): string {
  const name = cString(header.subarray(0, 100));
  const isUstar = header.subarray(257, 263).toString('latin1') === 'ustar\0';
  const prefix = isUstar ? cString(header.subarray(345, 500)) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** "LENGTH KEY=VALUE\n" records. */
function parsePax(data: Buffer): ReadonlyMap<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (let offset = 0; offset < data.byteLength; ) {
    const space = data.indexOf(0x20, offset);
    const length = space < 0 ? 0 : Number(data.toString('latin1', offset, space));
    const end = offset + length;
    const equals = data.indexOf(0x3d, space);
    const isValid =
      length > 0 && end <= data.byteLength && equals > space && equals < end && data[end - 1] === 0x0a;
    if (!isValid) throw failure('a pax header is damaged');
    records.set(data.toString('utf8', space + 1, equals), data.subarray(equals + 1, end - 1));
    offset = end;
  }
  return records;
}

function cString(field: Buffer): string {
  const end = field.indexOf(0);
  return utf8(field.subarray(0, end < 0 ? field.byteLength : end));
}

/** Node.js has no paths of other bytes, and two such names could become one. */
function utf8(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (text.includes('\ufffd') && !isUtf8(bytes)) throw failure(`the name "${text}" is no UTF-8`);
  return text;
}

function failure(state: string): TkadmError {
  return new TkadmError('IMAGE_UNPACK', `Cannot read tar: ${state}`);
}
