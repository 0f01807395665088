import { isUtf8 } from 'node:buffer';
import { TkadmError } from '../../base/errors.ts';
import { TAR_BLOCK_BYTES } from '../../base/tar-header.ts';

/** The sum of the header's bytes, its own field counted as spaces; old programs added signed bytes. */
export function checkSum(header: Buffer): void {
  let unsigned = 0;
  let signed = 0;
  for (let index = 0; index < TAR_BLOCK_BYTES; index += 1) {
    const byte = index >= 148 && index < 156 ? 0x20 : header[index]!;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const stated = readNumber(header, 148, 8);
  if (stated !== unsigned && stated !== signed) throw tarFailure('a header has a wrong checksum');
}

/** Octal digits, or base 256 when the first bit is set. */
export function readNumber(block: Buffer, offset: number, length: number): number {
  const field = block.subarray(offset, offset + length);
  if (field[0]! & 0x80) {
    let value = BigInt(field[0]! & 0x7f);
    for (const byte of field.subarray(1)) value = value * 256n + BigInt(byte);
    if (field[0]! & 0x40) value -= 1n << BigInt(8 * length - 1);
    if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) {
      throw tarFailure('a header holds a number that is too large');
    }
    return Number(value);
  }
  const text = cString(field).trim();
  if (text === '') return 0;
  if (!/^[0-7]+$/.test(text))
    throw tarFailure(
      `a header holds ${JSON.stringify(text)} where a number should be; it is no tar, or it is damaged`,
    );
  return Number.parseInt(text, 8);
}

/** A number of a pax record; times alone may be negative or broken. */
export function parseDecimal(key: string, text: string): number {
  const value = Number(text);
  if (
    text === '' ||
    !Number.isFinite(value) ||
    (key !== 'mtime' && (value < 0 || !Number.isSafeInteger(value)))
  ) {
    throw tarFailure(`"${key}" of a pax header is "${text}"`);
  }
  return value;
}

/** ustar's prefix and name; GNU's own format has other fields in the place of the prefix. */
export function readName(header: Buffer): string {
  const name = cString(header.subarray(0, 100));
  const isUstar = header.subarray(257, 263).toString('latin1') === 'ustar\0';
  const prefix = isUstar ? cString(header.subarray(345, 500)) : '';
  return prefix === '' ? name : `${prefix}/${name}`;
}

/** "LENGTH KEY=VALUE\n" records. */
export function parsePax(data: Buffer): ReadonlyMap<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (let offset = 0; offset < data.byteLength; ) {
    const space = data.indexOf(0x20, offset);
    const length = space < 0 ? 0 : Number(data.toString('latin1', offset, space));
    const end = offset + length;
    const equals = data.indexOf(0x3d, space);
    const isValid =
      length > 0 && end <= data.byteLength && equals > space && equals < end && data[end - 1] === 0x0a;
    if (!isValid) throw tarFailure('a pax header is damaged');
    records.set(data.toString('utf8', space + 1, equals), data.subarray(equals + 1, end - 1));
    offset = end;
  }
  return records;
}

/** Text up to the first zero byte. */
export function cString(field: Buffer): string {
  const end = field.indexOf(0);
  return utf8(field.subarray(0, end < 0 ? field.byteLength : end));
}

/** Node.js has no paths of other bytes, and two such names could become one. */
export function utf8(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  if (text.includes('\ufffd') && !isUtf8(bytes)) throw tarFailure(`the name "${text}" is no UTF-8`);
  return text;
}

/** IMAGE_UNPACK for an archive that cannot be read. */
export function tarFailure(state: string): TkadmError {
  return new TkadmError('IMAGE_UNPACK', `Cannot read tar: ${state}`);
}
