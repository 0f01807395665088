/** Size of a tar's blocks: headers are one, contents are filled up to whole ones. */
export const TAR_BLOCK_BYTES = 512;

/** Type flags of POSIX ustar and pax (tar(5)). */
export const TAR_TYPES = {
  file: '0',
  link: '1',
  symlink: '2',
  'character-device': '3',
  'block-device': '4',
  directory: '5',
  fifo: '6',
} as const;

export type TarType = keyof typeof TAR_TYPES;

/** What a tar says about a file. */
export interface TarFile {
  /** A directory's ends with "/". */
  readonly name: string;
  readonly type: TarType;
  /** Permission bits, with set-user-id and its like. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Of the content that follows; 0 for all but files. */
  readonly sizeBytes: number;
  /** Since 1970, with fractions. */
  readonly mtimeSeconds: number;
  /** Of a link. */
  readonly target: string;
  readonly major: number;
  readonly minor: number;
  readonly attributes: ReadonlyMap<string, Buffer>;
}

/** Prefix of a pax record that holds an extended attribute. */
export const PAX_ATTRIBUTE_PREFIX = 'SCHILY.xattr.';

const PAX_NAME = '././@PaxHeader';
const MAX_OCTAL_7 = 0o7777777;
const MAX_OCTAL_11 = 0o77777777777;

/**
 * The header blocks of an entry: a ustar header, before it a pax header (POSIX.1-2017 pax, "pax Header Block") for
 * what ustar cannot hold: long names and targets, other than ASCII, large numbers, fractions, attributes.
 */
export function encodeTarHeader(file: Partial<TarFile> & Pick<TarFile, 'name' | 'type' | 'mode'>): Buffer {
  const whole: TarFile = { ...EMPTY, ...file };
  const records = paxRecords(whole);
  const header = encodeUstar(whole, TAR_TYPES[whole.type]);
  if (records.length === 0) return header;
  const body = Buffer.concat(records.map(([key, value]) => encodeRecord(key, value)));
  const pax = { ...EMPTY, name: PAX_NAME, mode: 0o644, sizeBytes: body.byteLength };
  return Buffer.concat([encodeUstar(pax, 'x'), body, tarPadding(body.byteLength), header]);
}

/** Zeros that fill a content of so many bytes up to a whole block. */
export function tarPadding(sizeBytes: number): Buffer {
  return Buffer.alloc(paddingBytes(sizeBytes));
}

/** How many bytes fill up the last block of a content. */
export function paddingBytes(sizeBytes: number): number {
  return (TAR_BLOCK_BYTES - (sizeBytes % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES;
}

/** The two empty blocks that end an archive. */
export const TAR_END = Buffer.alloc(2 * TAR_BLOCK_BYTES);

const EMPTY: TarFile = {
  name: '',
  type: 'file',
  mode: 0,
  uid: 0,
  gid: 0,
  sizeBytes: 0,
  mtimeSeconds: 0,
  target: '',
  major: 0,
  minor: 0,
  attributes: new Map(),
};

type PaxRecord = readonly [key: string, value: string | Buffer];

function paxRecords(file: TarFile): readonly PaxRecord[] {
  const records: PaxRecord[] = [];
  if (splitName(file.name) === undefined) records.push(['path', file.name]);
  if (!fits(file.target, 100)) records.push(['linkpath', file.target]);
  if (file.sizeBytes > MAX_OCTAL_11) records.push(['size', String(file.sizeBytes)]);
  if (file.uid > MAX_OCTAL_7) records.push(['uid', String(file.uid)]);
  if (file.gid > MAX_OCTAL_7) records.push(['gid', String(file.gid)]);
  const { mtimeSeconds } = file;
  if (!Number.isInteger(mtimeSeconds) || mtimeSeconds < 0 || mtimeSeconds > MAX_OCTAL_11) {
    records.push(['mtime', String(mtimeSeconds)]);
  }
  for (const [name, value] of file.attributes) records.push([`${PAX_ATTRIBUTE_PREFIX}${name}`, value]);
  return records;
}

/** "LENGTH KEY=VALUE\n"; the length counts its own digits. */
function encodeRecord(key: string, value: string | Buffer): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value), Buffer.from('\n')]);
  let length = rest.byteLength;
  while (String(length).length + rest.byteLength !== length) {
    length = String(length).length + rest.byteLength;
  }
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

/**
 * name[100] mode[8] uid[8] gid[8] size[12] mtime[12] checksum[8] type[1] linkname[100] "ustar\0" "00" uname[32]
 * gname[32] devmajor[8] devminor[8] prefix[155], numbers in octal (tar(5), POSIX ustar). What a pax header carries is
 * left at zero, or cut off.
 */
function encodeUstar(file: TarFile, type: string): Buffer {
  const header = Buffer.alloc(TAR_BLOCK_BYTES);
  const [prefix, base] = splitName(file.name) ?? ['', file.name];
  header.write(base, 0, 100);
  const numbers = [
    [100, file.mode & 0o7777, 7],
    [108, file.uid, 7],
    [116, file.gid, 7],
    [124, file.sizeBytes, 11],
    [136, Math.floor(file.mtimeSeconds), 11],
    [329, file.major, 7],
    [337, file.minor, 7],
  ] as const;
  for (const [offset, value, digits] of numbers) header.write(octal(value, digits), offset);
  header.write(type, 156);
  header.write(file.target, 157, 100);
  header.write('ustar\u000000', 257);
  header.write(prefix, 345);
  // The sum counts its own field as spaces.
  const sum = header.reduce((total, byte) => total + byte, 8 * 0x20);
  header.write(`${octal(sum, 6)}\0 `, 148);
  return header;
}

function octal(value: number, digits: number): string {
  const text = value.toString(8);
  return value < 0 || text.length > digits ? '0'.repeat(digits) : text.padStart(digits, '0');
}

/** A name of more than 100 bytes is cut at a slash, what is before it is the prefix; undefined when that fails. */
function splitName(name: string): readonly [prefix: string, base: string] | undefined {
  if (fits(name, 100)) return ['', name];
  if (!fits(name, 256)) return undefined;
  // The last character may be a directory's slash, which must not become an empty base.
  const cut = name.indexOf('/', name.length - 101);
  const [prefix, base] = [name.slice(0, cut), name.slice(cut + 1)];
  return cut > 0 && base !== '' && fits(prefix, 155) && fits(base, 100) ? [prefix, base] : undefined;
}

/** ASCII of at most so many bytes: how other characters are read differs between programs. */
function fits(text: string, bytes: number): boolean {
  return text.length <= bytes && /^[\x01-\x7f]*$/.test(text);
}
