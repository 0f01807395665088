import { PAX_ATTRIBUTE_PREFIX, TAR_TYPES, type TarFile, type TarType } from '../../base/tar-header.ts';
import { BlockReader, type RawListener } from './tar-blocks.ts';
import {
  checkSum,
  cString,
  parseDecimal,
  parsePax,
  readName,
  readNumber,
  tarFailure,
  utf8,
} from './tar-fields.ts';
import { readGnuSparse, readPaxSparse, type SparsePiece } from './tar-sparse.ts';

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
  if (type === undefined) throw tarFailure(`entry "${name}" is of the unknown type "${facts.flag}"`);
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
