import { type DBusValue, decodeValues, encodeValues } from './dbus-values.ts';

/** D-Bus specification, "Message Types". */
export const MESSAGE = { call: 1, reply: 2, error: 3, signal: 4 } as const;

/** Header fields by their code, D-Bus specification "Header Fields". */
const FIELDS = [
  { code: 1, name: 'path', signature: 'o' },
  { code: 2, name: 'interface', signature: 's' },
  { code: 3, name: 'member', signature: 's' },
  { code: 4, name: 'errorName', signature: 's' },
  { code: 5, name: 'replySerial', signature: 'u' },
  { code: 6, name: 'destination', signature: 's' },
  { code: 8, name: 'signature', signature: 'g' },
] as const;

export interface DBusMessage {
  readonly type: (typeof MESSAGE)[keyof typeof MESSAGE];
  readonly serial: number;
  readonly path?: string;
  readonly interface?: string;
  readonly member?: string;
  readonly errorName?: string;
  readonly replySerial?: number;
  readonly destination?: string;
  readonly signature?: string;
  readonly body: readonly DBusValue[];
}

const VERSION = 1;
const LITTLE = 0x6c;
/** Bytes up to and with the length of the header fields. */
const FIXED_SIZE = 16;
/** D-Bus specification: the longest message. */
const MAX_SIZE = 2 ** 27;

/**
 * A message in little endian:
 *
 *     u8 'l', u8 type, u8 flags, u8 version 1, u32 body length, u32 serial, a(yv) fields, pad to 8, body
 */
export function encodeMessage(message: DBusMessage): Buffer {
  const { type, serial, signature = '', body } = message;
  const content = encodeValues(signature, body);
  const fields = FIELDS.flatMap(({ code, name, signature: of }): DBusValue[] => {
    const value = message[name];
    return value === undefined ? [] : [[code, { signature: of, value }]];
  });
  const header = encodeValues('yyyyuua(yv)', [LITTLE, type, 0, VERSION, content.length, serial, fields]);
  return Buffer.concat([header, Buffer.alloc(padding(header.length)), content]);
}

/** The length of the message that `bytes` begin with; undefined when there are too few to know. @throws Error */
export function messageSize(bytes: Buffer): number | undefined {
  if (bytes.length < FIXED_SIZE) return undefined;
  if (bytes[0] !== LITTLE) throw new Error('a message is not in little endian');
  const header = FIXED_SIZE + bytes.readUInt32LE(12);
  const size = header + padding(header) + bytes.readUInt32LE(4);
  if (size > MAX_SIZE) throw new Error(`a message has ${size} bytes`);
  return size;
}

/** The message in exactly these bytes. @throws Error */
export function decodeMessage(bytes: Buffer): DBusMessage {
  const [, type, , , bodyLength = 0, serial, list] = decodeValues('yyyyuua(yv)', bytes);
  const fields: Record<string, DBusValue> = {};
  for (const field of list as readonly (readonly [number, { readonly value: DBusValue }])[]) {
    const row = FIELDS.find(({ code }) => code === field[0]);
    if (row !== undefined) fields[row.name] = field[1].value;
  }
  const content = bytes.subarray(bytes.length - Number(bodyLength));
  const body = decodeValues(String(fields['signature'] ?? ''), content);
  return { ...fields, type, serial, body } as DBusMessage;
}

function padding(length: number): number {
  return -length & 7;
}
