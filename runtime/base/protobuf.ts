import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { TkadmError } from './errors.ts';

/** Scalars: 64-bit integers are numbers, `int64n` is an int64 that stays a bigint (nanosecond timestamps). */
export type ScalarType =
  | 'string'
  | 'bytes'
  | 'bool'
  | 'double'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'int64n'
  | 'uint64';

/** An enum whose values are 0, 1, 2, ... in the order of `names`; values appear as their names. */
export interface EnumType<N extends string = string> {
  readonly kind: 'enum';
  readonly names: readonly N[];
}

export interface MessageType<F extends FieldTable = FieldTable> {
  readonly kind: 'message';
  readonly fields: F;
}

export interface RepeatedType<E extends ElementType = ElementType> {
  readonly kind: 'repeated';
  readonly element: E;
}

/** A map with string keys. */
export interface MapType<V extends ElementType = ElementType> {
  readonly kind: 'map';
  readonly value: V;
}

export type ElementType = ScalarType | EnumType | MessageType;
export type FieldType = ElementType | RepeatedType | MapType;
/** camelCase field name → [field number, type]. */
export type FieldTable = { readonly [name: string]: readonly [number, FieldType] };

type ScalarValue<S extends ScalarType> = S extends 'string'
  ? string
  : S extends 'bytes'
    ? Uint8Array
    : S extends 'bool'
      ? boolean
      : S extends 'int64n'
        ? bigint
        : number;

type ElementValue<T> = T extends ScalarType
  ? ScalarValue<T>
  : T extends EnumType<infer N>
    ? N
    : T extends MessageType
      ? MessageOf<T>
      : never;

type FieldValue<T> =
  T extends RepeatedType<infer E>
    ? readonly ElementValue<E>[]
    : T extends MapType<infer V>
      ? Readonly<Record<string, ElementValue<V>>>
      : ElementValue<T>;

type ElementInit<T> = T extends MessageType ? InitOf<T> : ElementValue<T>;

type FieldInit<T> =
  T extends RepeatedType<infer E>
    ? readonly ElementInit<E>[]
    : T extends MapType<infer V>
      ? Readonly<Record<string, ElementInit<V>>>
      : ElementInit<T>;

type MessageKeys<F extends FieldTable> = {
  [K in keyof F]: F[K][1] extends MessageType ? K : never;
}[keyof F];

/** A decoded message: scalars, enums, lists and maps always there (proto3 defaults), messages when sent. */
export type MessageOf<T extends MessageType> = {
  readonly [K in Exclude<keyof T['fields'], MessageKeys<T['fields']>>]: FieldValue<T['fields'][K][1]>;
} & {
  readonly [K in MessageKeys<T['fields']>]?: FieldValue<T['fields'][K][1]> | undefined;
};

/** What is accepted for encoding: every field may be left out. A MessageOf is an InitOf. */
export type InitOf<T extends MessageType> = {
  readonly [K in keyof T['fields']]?: FieldInit<T['fields'][K][1]> | undefined;
};

/** Declares a message by its field table. */
export function message<const F extends FieldTable>(fields: F): MessageType<F> {
  return { kind: 'message', fields };
}

/** Declares an enum by its value names in the order of their numbers, starting at 0. */
export function enumeration<const N extends string>(...names: readonly N[]): EnumType<N> {
  return { kind: 'enum', names };
}

export function repeated<const E extends ElementType>(element: E): RepeatedType<E> {
  return { kind: 'repeated', element };
}

export function map<const V extends ElementType>(_key: 'string', value: V): MapType<V> {
  return { kind: 'map', value };
}

type Fields = Readonly<Record<string, unknown>>;

/** Encodes a message in the protobuf wire format; default values are left out, as in proto3. */
export function encodeMessage<T extends MessageType>(type: T, value: InitOf<T>): Uint8Array {
  const writer = new BinaryWriter();
  writeMessage(writer, type, value as Fields);
  return writer.finish();
}

/**
 * Decodes a message; fields that the table does not have are skipped.
 * @throws UNSUPPORTED naming an enum value that the table does not have.
 */
export function decodeMessage<T extends MessageType>(type: T, bytes: Uint8Array): MessageOf<T> {
  return readMessage(new BinaryReader(bytes), type, bytes.byteLength) as MessageOf<T>;
}

function writeMessage(writer: BinaryWriter, type: MessageType, value: Fields): void {
  for (const [name, [number, fieldType]] of Object.entries(type.fields)) {
    const field = value[name];
    if (field !== undefined) writeField(writer, number, fieldType, field);
  }
}

function writeField(writer: BinaryWriter, number: number, type: FieldType, value: unknown): void {
  if (typeof type === 'string' || type.kind === 'enum') {
    if (!isDefault(type, value)) writeElement(writer, number, type, value);
  } else if (type.kind === 'message') {
    writeElement(writer, number, type, value);
  } else if (type.kind === 'map') {
    for (const [key, entry] of Object.entries(value as Fields)) {
      writer.tag(number, WireType.LengthDelimited).fork();
      writer.tag(1, WireType.LengthDelimited).string(key);
      writeElement(writer, 2, type.value, entry);
      writer.join();
    }
  } else writeList(writer, number, type.element, value as readonly unknown[]);
}

function writeList(
  writer: BinaryWriter,
  number: number,
  element: ElementType,
  list: readonly unknown[],
): void {
  if (list.length === 0) return;
  if (wireTypeOf(element) === WireType.LengthDelimited) {
    for (const item of list) writeElement(writer, number, element, item);
    return;
  }
  writer.tag(number, WireType.LengthDelimited).fork();
  for (const item of list) writePlain(writer, element, item);
  writer.join();
}

function writeElement(writer: BinaryWriter, number: number, type: ElementType, value: unknown): void {
  writer.tag(number, wireTypeOf(type));
  if (typeof type !== 'string' && type.kind === 'message') {
    writer.fork();
    writeMessage(writer, type, value as Fields);
    writer.join();
  } else writePlain(writer, type, value);
}

function writePlain(writer: BinaryWriter, type: ElementType, value: unknown): void {
  if (typeof type !== 'string') {
    if (type.kind !== 'enum') throw new Error('a message is not packed');
    const index = type.names.indexOf(value as string);
    if (index < 0)
      throw new TkadmError('UNSUPPORTED', `Cannot encode enum value "${String(value)}": unknown`);
    writer.int32(index);
    return;
  }
  switch (type) {
    case 'string':
      writer.string(value as string);
      return;
    case 'bytes':
      writer.bytes(value as Uint8Array);
      return;
    case 'bool':
      writer.bool(value as boolean);
      return;
    case 'double':
      writer.double(value as number);
      return;
    case 'int32':
      writer.int32(value as number);
      return;
    case 'uint32':
      writer.uint32(value as number);
      return;
    case 'uint64':
      writer.uint64(toInteger(value));
      return;
    default:
      writer.int64(toInteger(value));
  }
}

function toInteger(value: unknown): bigint {
  return typeof value === 'bigint' ? value : BigInt(Math.trunc(value as number));
}

function wireTypeOf(type: ElementType): WireType {
  if (typeof type !== 'string') return type.kind === 'enum' ? WireType.Varint : WireType.LengthDelimited;
  if (type === 'string' || type === 'bytes') return WireType.LengthDelimited;
  return type === 'double' ? WireType.Bit64 : WireType.Varint;
}

function isDefault(type: ScalarType | EnumType, value: unknown): boolean {
  if (typeof type !== 'string') return value === type.names[0];
  if (type === 'bytes') return (value as Uint8Array).byteLength === 0;
  return value === defaultOf(type) || value === 0;
}

function defaultOf(type: FieldType): unknown {
  if (typeof type !== 'string') {
    if (type.kind === 'enum') return type.names[0];
    if (type.kind === 'repeated') return [];
    return type.kind === 'map' ? {} : undefined;
  }
  if (type === 'string') return '';
  if (type === 'bytes') return new Uint8Array(0);
  if (type === 'bool') return false;
  return type === 'int64n' ? 0n : 0;
}

const fieldIndexes = new WeakMap<MessageType, ReadonlyMap<number, readonly [string, FieldType]>>();

function fieldIndex(type: MessageType): ReadonlyMap<number, readonly [string, FieldType]> {
  const known = fieldIndexes.get(type);
  if (known) return known;
  const index = new Map(
    Object.entries(type.fields).map(([name, [number, fieldType]]) => [number, [name, fieldType] as const]),
  );
  fieldIndexes.set(type, index);
  return index;
}

function readMessage(reader: BinaryReader, type: MessageType, lengthBytes: number): Fields {
  const end = reader.pos + lengthBytes;
  const value: Record<string, unknown> = {};
  for (const [name, [, fieldType]] of Object.entries(type.fields)) {
    const initial = defaultOf(fieldType);
    if (initial !== undefined) value[name] = initial;
  }
  const index = fieldIndex(type);
  while (reader.pos < end) {
    const [number, wireType] = reader.tag();
    const row = index.get(number);
    if (row === undefined) reader.skip(wireType, number);
    else value[row[0]] = readField(reader, row[1], wireType, value[row[0]]);
  }
  return value;
}

function readField(reader: BinaryReader, type: FieldType, wireType: WireType, current: unknown): unknown {
  if (typeof type === 'string' || type.kind === 'enum') return readPlain(reader, type);
  if (type.kind === 'message') return readMessage(reader, type, reader.uint32());
  if (type.kind === 'map') {
    const entry = readMessage(reader, mapEntry(type), reader.uint32());
    const target = current as Record<string, unknown>;
    Object.defineProperty(target, entry['key'] as string, {
      value: entry['value'],
      enumerable: true,
      writable: true,
      configurable: true,
    });
    return target;
  }
  const list = current as unknown[];
  if (wireType === WireType.LengthDelimited && wireTypeOf(type.element) !== WireType.LengthDelimited) {
    const end = reader.uint32() + reader.pos;
    while (reader.pos < end) list.push(readPlain(reader, type.element));
  } else list.push(readField(reader, type.element, wireType, undefined));
  return list;
}

const mapEntries = new WeakMap<MapType, MessageType>();

function mapEntry(type: MapType): MessageType {
  const known = mapEntries.get(type);
  if (known) return known;
  const entry = message({ key: [1, 'string'], value: [2, type.value] });
  mapEntries.set(type, entry);
  return entry;
}

function readPlain(reader: BinaryReader, type: ElementType): unknown {
  if (typeof type !== 'string') {
    if (type.kind !== 'enum') throw new Error('a message is not packed');
    const value = reader.int32();
    const name = type.names[value];
    if (name === undefined) {
      throw new TkadmError(
        'UNSUPPORTED',
        `Cannot decode enum value ${value}: expected ${type.names.join(', ')}`,
      );
    }
    return name;
  }
  switch (type) {
    case 'string':
      return reader.string();
    case 'bytes':
      return reader.bytes();
    case 'bool':
      return reader.bool();
    case 'double':
      return reader.double();
    case 'int32':
      return reader.int32();
    case 'uint32':
      return reader.uint32();
    case 'uint64':
      return Number(reader.uint64());
    case 'int64n':
      return BigInt(reader.int64());
    default:
      return Number(reader.int64());
  }
}
