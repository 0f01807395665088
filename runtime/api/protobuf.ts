import { formatError } from '../base/errors.ts';
import { readMessage, readWireFields, toInteger, toText, type WireField } from './protobuf-reader.ts';
import { badRequest, RequestError } from './request-error.ts';
import { ensureObject } from './schema/access.ts';
import { requireType, typeOfKind } from './schema/registry.ts';
import { normalizeScalar } from './schema/scalars.ts';
import type { FieldSchema, FieldType, JsonObject, Scalar, TypeSchema } from './schema/types.ts';

/*
 * A body of application/vnd.kubernetes.protobuf:
 *
 *   "k8s\0"  runtime.Unknown { 1: TypeMeta { 1: apiVersion, 2: kind }, 2: raw }
 *
 * where raw is the message of the kind. Clients write every field that is not a pointer, also when it is empty.
 */
const MAGIC = Buffer.from('k8s\0', 'latin1');

/** A field by its number, or the numbers inside of a Go struct that JSON inlines. */
interface Layout {
  readonly fields: Map<number, FieldSchema>;
  readonly inlined: Map<number, Layout>;
}

const layouts = new Map<string, Layout>();

function emptyLayout(): Layout {
  return { fields: new Map(), inlined: new Map() };
}

function addField(layout: Layout, field: FieldSchema): void {
  let at = layout;
  for (const number of field.numbers.slice(0, -1)) {
    const inner = at.inlined.get(number) ?? emptyLayout();
    at.inlined.set(number, inner);
    at = inner;
  }
  at.fields.set(field.numbers.at(-1)!, field);
}

function unsupported(typeName: string): RequestError {
  return new RequestError(
    415,
    `the body of the request was in protobuf, which is not supported for the type ${typeName}; send application/json`,
    { reason: 'UnsupportedMediaType' },
  );
}

/** Types without fields, whose messages are empty. */
function hasNoFields(type: TypeSchema): boolean {
  return [...type.fields.keys()].every((name) => name === 'apiVersion' || name === 'kind');
}

function layoutOf(typeName: string): Layout {
  const known = layouts.get(typeName);
  if (known) return known;
  const type = requireType(typeName);
  const layout = emptyLayout();
  for (const field of type.fields.values()) if (field.numbers.length > 0) addField(layout, field);
  if (layout.fields.size === 0 && layout.inlined.size === 0 && !hasNoFields(type))
    throw unsupported(typeName);
  layouts.set(typeName, layout);
  return layout;
}

function contentOf(field: WireField): Uint8Array {
  if (!field.bytes) throw new RangeError(`field ${field.number} is a number, not a message`);
  return field.bytes;
}

/** Seconds and nanoseconds as RFC 3339; undefined for the zero time, which is an empty message. */
function readTime(bytes: Uint8Array, isMicro: boolean): string | undefined {
  const fields = readMessage(bytes);
  if (fields.size === 0) return undefined;
  const seconds = toInteger(fields.get(1));
  const text = new Date(seconds * 1000).toISOString().slice(0, 19);
  if (!isMicro) return `${text}Z`;
  return `${text}.${String(Math.floor(toInteger(fields.get(2)) / 1000)).padStart(6, '0')}Z`;
}

/** IntOrString { 1: type (1 is text), 2: intVal, 3: strVal }. */
function readIntOrString(bytes: Uint8Array): number | string {
  const fields = readMessage(bytes);
  return toInteger(fields.get(1)) === 1 ? toText(fields.get(3)) : toInteger(fields.get(2));
}

/** A message whose field 1 holds JSON text. */
function readEmbeddedJson(bytes: Uint8Array): unknown {
  const text = toText(readMessage(bytes).get(1));
  return text === '' ? undefined : JSON.parse(text);
}

function readDouble(field: WireField): number {
  const bytes = field.bytes ?? new Uint8Array(8);
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getFloat64(0, true);
}

const SCALAR_READERS: Readonly<Record<Scalar, (field: WireField) => unknown>> = {
  string: toText,
  bool: (field) => field.value !== 0n,
  int32: (field) => Number(BigInt.asIntN(32, field.value)),
  int64: toInteger,
  double: readDouble,
  bytes: (field) => Buffer.from(contentOf(field)).toString('base64'),
  time: (field) => readTime(contentOf(field), false),
  microTime: (field) => readTime(contentOf(field), true),
  quantity: (field) => normalizeScalar('quantity', toText(readMessage(contentOf(field)).get(1)) || '0'),
  intOrString: (field) => readIntOrString(contentOf(field)),
  raw: (field) => readEmbeddedJson(contentOf(field)),
  json: (field) => readEmbeddedJson(contentOf(field)),
  fieldsV1: (field) => readEmbeddedJson(contentOf(field)),
};

function readValue(field: WireField, type: FieldType): unknown {
  switch (type.kind) {
    case 'scalar':
      return SCALAR_READERS[type.scalar](field);
    case 'ref':
      return readTyped(contentOf(field), type.type);
    case 'array':
      return readItems(contentOf(field), type.items);
    case 'map':
      throw new RangeError('a map inside of a list has no encoding');
  }
}

/** A list as the value of a map: a message with the items in field 1. */
function readItems(bytes: Uint8Array, items: FieldType): unknown[] {
  return [...readWireFields(bytes)]
    .filter(({ number }) => number === 1)
    .map((field) => readValue(field, items));
}

/** JSONSchemaPropsOrBool, -OrArray and -OrStringArray: the one that is set. */
function readVariant(bytes: Uint8Array, type: TypeSchema): unknown {
  const schemaNumber = type.variant === 'orBool' ? 2 : 1;
  const schema = readMessage(bytes).get(schemaNumber);
  if (schema) return readTyped(contentOf(schema), 'apiextensions.v1.JSONSchemaProps');
  if (type.variant === 'orBool') return toInteger(readMessage(bytes).get(1)) !== 0;
  const others = [...readWireFields(bytes)].filter(({ number }) => number === 2);
  return type.variant === 'orStringArray'
    ? others.map(toText)
    : others.map((field) => readTyped(contentOf(field), 'apiextensions.v1.JSONSchemaProps'));
}

function readTyped(bytes: Uint8Array, typeName: string): unknown {
  const type = requireType(typeName);
  if (type.variant) return readVariant(bytes, type);
  const object: JsonObject = {};
  readInto(object, bytes, layoutOf(typeName));
  return object;
}

function isZero(value: unknown): boolean {
  return value === '' || value === 0 || value === false;
}

function readMapEntry(object: JsonObject, name: string, bytes: Uint8Array, values: FieldType): void {
  const entry = readMessage(bytes);
  const content = entry.get(2) ?? { number: 2, value: 0n, bytes: new Uint8Array() };
  const map = ensureObject(object, name);
  Object.defineProperty(map, toText(entry.get(1)), {
    value: readValue(content, values),
    writable: true,
    enumerable: true,
    configurable: true,
  });
}

function readField(object: JsonObject, schema: FieldSchema, field: WireField): void {
  const { name, type } = schema;
  if (type.kind === 'map') {
    readMapEntry(object, name, contentOf(field), type.values);
  } else if (type.kind === 'array') {
    const before = object[name];
    const value = readValue(field, type.items);
    if (Array.isArray(before)) before.push(value);
    else object[name] = [value];
  } else {
    const value = readValue(field, type);
    const isLeftOut =
      type.kind === 'scalar' && !schema.keepsZero && isZero(value) && type.scalar !== 'intOrString';
    if (value !== undefined && !isLeftOut) object[name] = value;
  }
}

/** Fields that the tables do not know are skipped, as protobuf decoders do. */
function readInto(object: JsonObject, bytes: Uint8Array, layout: Layout): void {
  for (const field of readWireFields(bytes)) {
    const schema = layout.fields.get(field.number);
    const inner = layout.inlined.get(field.number);
    if (schema) readField(object, schema, field);
    else if (inner) readInto(object, contentOf(field), inner);
  }
}

/** A decoded protobuf body: `object` has the shape of its JSON form, with apiVersion and kind. */
export interface DecodedProtobuf {
  readonly apiVersion: string;
  readonly kind: string;
  readonly object: JsonObject;
}

/** True when a body starts like a protobuf object of the API. */
function isProtobufBody(body: Uint8Array): boolean {
  return MAGIC.equals(body.subarray(0, MAGIC.length));
}

function decodeUnknown(body: Uint8Array): DecodedProtobuf {
  const unknown = readMessage(body.subarray(MAGIC.length));
  const typeMeta = readMessage(unknown.get(1)?.bytes ?? new Uint8Array());
  const apiVersion = toText(typeMeta.get(1));
  const kind = toText(typeMeta.get(2));
  const typeName = typeOfKind(apiVersion, kind);
  if (!typeName) throw unsupported(`${apiVersion} ${kind}`);
  const object: JsonObject = { kind, apiVersion };
  readInto(object, unknown.get(2)?.bytes ?? new Uint8Array(), layoutOf(typeName));
  return { apiVersion, kind, object };
}

/**
 * Decodes a body of `application/vnd.kubernetes.protobuf`.
 * @throws RequestError 400 for bytes that are no such object, 415 for a type without field numbers.
 */
export function decodeProtobuf(body: Uint8Array): DecodedProtobuf {
  if (!isProtobufBody(body))
    throw badRequest(
      'the body of the request does not appear to be a protobuf message with the prefix "k8s\\0"',
    );
  try {
    return decodeUnknown(body);
  } catch (error) {
    if (error instanceof RequestError) throw error;
    throw badRequest(`cannot decode the protobuf body: ${formatError(error)}`, error);
  }
}
