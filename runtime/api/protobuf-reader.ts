/** One field of a message on the wire (protobuf encoding document). */
export interface WireField {
  readonly number: number;
  /** Varints and fixed numbers; 0n for bytes. */
  readonly value: bigint;
  /** Content of a length-delimited field, and the 4 or 8 bytes of a fixed one. */
  readonly bytes: Uint8Array | undefined;
}

const EMPTY = new Uint8Array();

function readVarint(bytes: Uint8Array, start: number): readonly [bigint, number] {
  let value = 0n;
  let shift = 0n;
  for (let at = start; at < bytes.length && shift < 70n; at += 1) {
    const byte = bytes[at]!;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return [BigInt.asUintN(64, value), at + 1];
    shift += 7n;
  }
  throw new RangeError('unexpected EOF in a varint');
}

function take(bytes: Uint8Array, start: number, length: number): Uint8Array {
  if (start + length > bytes.length) throw new RangeError('unexpected EOF');
  return bytes.subarray(start, start + length);
}

/** The fields of a message in their order. Throws `RangeError` for bytes that are no message. */
export function* readWireFields(bytes: Uint8Array): Generator<WireField> {
  let at = 0;
  while (at < bytes.length) {
    const [tag, afterTag] = readVarint(bytes, at);
    const number = Number(tag >> 3n);
    const wireType = Number(tag & 7n);
    if (wireType === 0) {
      const [value, next] = readVarint(bytes, afterTag);
      yield { number, value, bytes: undefined };
      at = next;
    } else if (wireType === 2) {
      const [length, start] = readVarint(bytes, afterTag);
      const content = take(bytes, start, Number(length));
      yield { number, value: 0n, bytes: content };
      at = start + content.length;
    } else if (wireType === 1 || wireType === 5) {
      const content = take(bytes, afterTag, wireType === 1 ? 8 : 4);
      yield { number, value: 0n, bytes: content };
      at = afterTag + content.length;
    } else throw new RangeError(`wire type ${wireType} is not supported`);
  }
}

/** Numbers of varint fields of a message as signed integers, and contents of the others, by field number. */
export function readMessage(bytes: Uint8Array): ReadonlyMap<number, WireField> {
  const fields = new Map<number, WireField>();
  for (const field of readWireFields(bytes)) fields.set(field.number, field);
  return fields;
}

/** UTF-8 text of a field, "" without content. */
export function toText(field: WireField | undefined): string {
  const bytes = field?.bytes ?? EMPTY;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}

/** A signed 64-bit varint as a number; beyond 2^53 it loses digits, as JSON numbers do. */
export function toInteger(field: WireField | undefined): number {
  return Number(BigInt.asIntN(64, field?.value ?? 0n));
}
