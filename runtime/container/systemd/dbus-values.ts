/** A value with its type, D-Bus' VARIANT. */
export interface DBusVariant {
  readonly signature: string;
  readonly value: DBusValue;
}

/** Integers of 64 bits are bigint; arrays and structures are lists. */
export type DBusValue = string | number | bigint | boolean | DBusVariant | readonly DBusValue[];

/** Types and their alignments, D-Bus specification "Marshaling"; those that systemd's manager is spoken to with. */
const ALIGNMENTS: Readonly<Record<string, number>> = {
  y: 1,
  b: 4,
  i: 4,
  u: 4,
  x: 8,
  t: 8,
  s: 4,
  o: 4,
  g: 1,
  v: 1,
  a: 4,
  '(': 8,
  '{': 8,
};

/** The complete types of a signature: "sa(sv)u" → "s", "a(sv)", "u". @throws Error */
export function splitSignature(signature: string): readonly string[] {
  const types: string[] = [];
  for (let at = 0; at < signature.length; ) {
    const end = endOfType(signature, at);
    types.push(signature.slice(at, end));
    at = end;
  }
  return types;
}

function endOfType(signature: string, at: number): number {
  const code = signature[at];
  if (code === undefined || ALIGNMENTS[code] === undefined)
    throw new Error(`the D-Bus signature "${signature}" has no type at ${at}`);
  if (code === 'a') return endOfType(signature, at + 1);
  if (code !== '(' && code !== '{') return at + 1;
  let end = at + 1;
  do end = endOfType(signature, end);
  while (signature[end] !== ')' && signature[end] !== '}');
  return end + 1;
}

function alignmentOf(type: string): number {
  return ALIGNMENTS[type[0] ?? ''] ?? 1;
}

/** The values in a row, aligned from their own beginning. @throws Error */
export function encodeValues(signature: string, values: readonly DBusValue[]): Buffer {
  const bytes: number[] = [];
  for (const [index, type] of splitSignature(signature).entries()) write(bytes, type, values[index]!);
  return Buffer.from(bytes);
}

function write(bytes: number[], type: string, value: DBusValue): void {
  pad(bytes, alignmentOf(type));
  const code = type[0] ?? '';
  if (code === 'y') bytes.push(Number(value));
  else if (code === 'b' || code === 'i' || code === 'u') writeInteger(bytes, BigInt(value as number), 4);
  else if (code === 'x' || code === 't') writeInteger(bytes, BigInt(value as bigint), 8);
  else if (code === 's' || code === 'o' || code === 'g')
    writeText(bytes, String(value), code === 'g' ? 1 : 4);
  else if (code === 'v') {
    const { signature, value: inner } = value as DBusVariant;
    writeText(bytes, signature, 1);
    write(bytes, signature, inner);
  } else if (code === 'a') writeArray(bytes, type.slice(1), value as readonly DBusValue[]);
  else
    for (const [index, part] of members(type).entries())
      write(bytes, part, (value as readonly DBusValue[])[index]!);
}

/** The length counts from the first element, behind its padding. */
function writeArray(bytes: number[], type: string, values: readonly DBusValue[]): void {
  const at = bytes.length;
  writeInteger(bytes, 0n, 4);
  pad(bytes, alignmentOf(type));
  const start = bytes.length;
  for (const value of values) write(bytes, type, value);
  const length: number[] = [];
  writeInteger(length, BigInt(bytes.length - start), 4);
  for (const [index, byte] of length.entries()) bytes[at + index] = byte;
}

function writeText(bytes: number[], text: string, lengthSize: number): void {
  const content = Buffer.from(text);
  writeInteger(bytes, BigInt(content.length), lengthSize);
  bytes.push(...content, 0);
}

function writeInteger(bytes: number[], value: bigint, size: number): void {
  for (let index = 0; index < size; index += 1) bytes.push(Number((value >> BigInt(8 * index)) & 0xffn));
}

function pad(bytes: number[], alignment: number): void {
  while (bytes.length % alignment !== 0) bytes.push(0);
}

function members(type: string): readonly string[] {
  return splitSignature(type.slice(1, -1));
}

/** The values that `bytes` begin with. @throws Error, RangeError when they end too early */
export function decodeValues(signature: string, bytes: Buffer): readonly DBusValue[] {
  const cursor = { bytes, at: 0 };
  return splitSignature(signature).map((type) => read(cursor, type));
}

interface Cursor {
  readonly bytes: Buffer;
  at: number;
}

function read(cursor: Cursor, type: string): DBusValue {
  align(cursor, alignmentOf(type));
  const code = type[0] ?? '';
  if (code === 'y') return Number(readInteger(cursor, 1));
  if (code === 'b') return readInteger(cursor, 4) !== 0n;
  if (code === 'u') return Number(readInteger(cursor, 4));
  if (code === 'i') return Number(BigInt.asIntN(32, readInteger(cursor, 4)));
  if (code === 't') return readInteger(cursor, 8);
  if (code === 'x') return BigInt.asIntN(64, readInteger(cursor, 8));
  if (code === 's' || code === 'o' || code === 'g') return readString(cursor, code === 'g' ? 1 : 4);
  if (code === 'v') {
    const signature = readString(cursor, 1);
    return { signature, value: read(cursor, signature) };
  }
  if (code !== 'a') return members(type).map((part) => read(cursor, part));
  const length = Number(readInteger(cursor, 4));
  align(cursor, alignmentOf(type.slice(1)));
  const end = cursor.at + length;
  const values: DBusValue[] = [];
  while (cursor.at < end) values.push(read(cursor, type.slice(1)));
  return values;
}

function readString(cursor: Cursor, lengthSize: number): string {
  const length = Number(readInteger(cursor, lengthSize));
  const start = cursor.at;
  cursor.at += length + 1;
  if (cursor.at > cursor.bytes.length) throw new RangeError('a text of a D-Bus message is cut off');
  return cursor.bytes.toString('utf8', start, start + length);
}

function readInteger(cursor: Cursor, size: number): bigint {
  let value = 0n;
  for (let index = 0; index < size; index += 1) {
    value |= BigInt(cursor.bytes.readUInt8(cursor.at + index)) << BigInt(8 * index);
  }
  cursor.at += size;
  return value;
}

function align(cursor: Cursor, alignment: number): void {
  cursor.at += -cursor.at & (alignment - 1);
}
