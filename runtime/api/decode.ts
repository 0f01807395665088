import { CORE_SCHEMA, load } from 'js-yaml';
import { formatError } from '../base/errors.ts';
import { findDuplicateFields } from './json-duplicates.ts';
import { badRequest } from './request-error.ts';
import { parseApiVersion } from './resources.ts';
import { requireType, typeOfKind } from './schema/registry.ts';
import { normalizeScalar, SCALAR_CHECKS } from './schema/scalars.ts';
import {
  type FieldSchema,
  type FieldType,
  isJsonObject,
  type JsonObject,
  type TypeSchema,
} from './schema/types.ts';

/** A decoded body: unknown fields are no longer in `object`. Paths read `spec.containers[0].foo`. */
export interface Decoded {
  readonly object: JsonObject;
  readonly unknownFields: readonly string[];
  readonly duplicateFields: readonly string[];
}

export interface DecodeOptions {
  /** Also look for keys given twice, which costs a second pass; for fieldValidation=Strict and Warn. */
  readonly reportDuplicates?: boolean;
}

/** What a walk over one body needs and collects. */
interface Walk {
  readonly unknown: string[];
  /** "Deployment in version "v1" cannot be handled as a Deployment", in front of each type error. */
  readonly subject: string;
}

/** Names that Go's decoder gives JSON values. */
function nameOfValue(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

const GO_NAMES: Readonly<Record<string, string>> = {
  double: 'float64',
  bytes: '[]uint8',
  raw: 'runtime.RawExtension',
  fieldsV1: 'v1.FieldsV1',
  quantity: 'resource.Quantity',
  intOrString: 'intstr.IntOrString',
  time: 'v1.Time',
  microTime: 'v1.MicroTime',
};

function goName(type: FieldType): string {
  switch (type.kind) {
    case 'scalar':
      return GO_NAMES[type.scalar] ?? type.scalar;
    case 'ref':
      return type.type.split('.').slice(1).join('.');
    case 'array':
      return `[]${goName(type.items)}`;
    case 'map':
      return `map[string]${goName(type.values)}`;
  }
}

/** Where a value stands: path with indices for reports, `fields` without, as Go names struct fields. */
interface Place {
  readonly path: string;
  readonly owner: string;
  readonly fields: string;
}

function wrongType(walk: Walk, value: unknown, type: FieldType, place: Place): Error {
  const what = nameOfValue(value);
  const shown = what === 'number' && !Number.isInteger(value) ? `number ${value}` : what;
  return badRequest(
    `${walk.subject}: json: cannot unmarshal ${shown} into Go struct field ${place.owner}.${place.fields} of type ${goName(type)}`,
  );
}

/** Checks and strips `value`; returns what stands for it, undefined for a null, which Go reads as unset. */
function checkValue(walk: Walk, value: unknown, type: FieldType, place: Place): unknown {
  if (value === null) return undefined;
  if (type.kind === 'scalar') {
    const problem = SCALAR_CHECKS[type.scalar](value);
    if (problem === undefined) return normalizeScalar(type.scalar, value);
    if (problem === '') throw wrongType(walk, value, type, place);
    throw badRequest(`${walk.subject}: ${problem}`);
  }
  if (type.kind === 'ref') return checkRef(walk, value, requireType(type.type), type, place);
  if (type.kind === 'array') {
    if (!Array.isArray(value)) throw wrongType(walk, value, type, place);
    checkArray(walk, value, type.items, place);
    return value;
  }
  if (!isJsonObject(value)) throw wrongType(walk, value, type, place);
  checkMap(walk, value, type.values, place);
  return value;
}

/** What Go leaves for a null inside a list or a map: the zero value. */
function zeroOf(type: FieldType): unknown {
  if (type.kind !== 'scalar') return type.kind === 'ref' ? {} : null;
  if (type.scalar === 'bool') return false;
  if (type.scalar === 'int32' || type.scalar === 'int64' || type.scalar === 'double') return 0;
  return type.scalar === 'string' || type.scalar === 'bytes' ? '' : null;
}

function checkArray(walk: Walk, values: unknown[], items: FieldType, place: Place): void {
  for (let index = 0; index < values.length; index += 1) {
    const value = values[index];
    if (typeof value === 'string' && items.kind === 'scalar' && items.scalar === 'string') continue;
    const at = { ...place, path: `${place.path}[${index}]` };
    values[index] = value === null ? zeroOf(items) : checkValue(walk, value, items, at);
  }
}

function checkMap(walk: Walk, map: JsonObject, values: FieldType, place: Place): void {
  for (const key of Object.keys(map)) {
    const value = map[key];
    if (typeof value === 'string' && values.kind === 'scalar' && values.scalar === 'string') continue;
    const at = { ...place, path: `${place.path}.${key}` };
    map[key] = value === null ? zeroOf(values) : checkValue(walk, value, values, at);
  }
}

function checkRef(walk: Walk, value: unknown, type: TypeSchema, fieldType: FieldType, place: Place): unknown {
  if (type.variant) return checkVariant(walk, value, type, fieldType, place);
  if (!isJsonObject(value)) throw wrongType(walk, value, fieldType, place);
  checkObject(walk, value, type, place.path, place.fields);
  return value;
}

const JSON_SCHEMA: FieldType = { kind: 'ref', type: 'apiextensions.v1.JSONSchemaProps' };
const STRINGS: FieldType = { kind: 'array', items: { kind: 'scalar', scalar: 'string' } };

function checkVariant(
  walk: Walk,
  value: unknown,
  type: TypeSchema,
  fieldType: FieldType,
  place: Place,
): unknown {
  if (type.variant === 'orBool' && typeof value === 'boolean') return value;
  if (type.variant === 'orArray' && Array.isArray(value))
    return checkValue(walk, value, { kind: 'array', items: JSON_SCHEMA }, place);
  if (type.variant === 'orStringArray' && Array.isArray(value))
    return checkValue(walk, value, STRINGS, place);
  if (!isJsonObject(value)) throw wrongType(walk, value, fieldType, place);
  return checkValue(walk, value, JSON_SCHEMA, place);
}

function isPlain(value: unknown, field: FieldSchema): boolean {
  if (field.type.kind !== 'scalar') return false;
  const { scalar } = field.type;
  return (
    (typeof value === 'string' && scalar === 'string') || (typeof value === 'boolean' && scalar === 'bool')
  );
}

function checkObject(walk: Walk, object: JsonObject, type: TypeSchema, path: string, fields: string): void {
  for (const key of Object.keys(object)) {
    const field = type.fields.get(key);
    if (!field) {
      walk.unknown.push(path === '' ? key : `${path}.${key}`);
      delete object[key];
      continue;
    }
    const value = object[key];
    if (isPlain(value, field)) continue;
    const checked = checkValue(walk, value, field.type, {
      path: path === '' ? key : `${path}.${key}`,
      owner: type.name.slice(type.name.lastIndexOf('.') + 1),
      fields: fields === '' ? key : `${fields}.${key}`,
    });
    if (checked === undefined) delete object[key];
    else object[key] = checked;
  }
}

function walkObject(object: JsonObject, typeName: string, subject: string): readonly string[] {
  const walk: Walk = { unknown: [], subject };
  checkObject(walk, object, requireType(typeName), '', '');
  return walk.unknown;
}

/** Kinds whose apiVersion in the body need not be that of the path. */
const FREE_VERSION_KINDS: ReadonlySet<string> = new Set(['DeleteOptions']);

function checkIdentity(object: JsonObject, apiVersion: string, kind: string): void {
  const given = { apiVersion: object['apiVersion'], kind: object['kind'] };
  if (given.kind !== undefined && given.kind !== '' && given.kind !== kind)
    throw badRequest(
      `${String(given.kind)} in version "${parseApiVersion(String(given.apiVersion)).version}" cannot be handled as a ${kind}: converting (${String(given.apiVersion)}.${String(given.kind)}) to (${apiVersion}.${kind}): unknown conversion`,
    );
  const isFree = FREE_VERSION_KINDS.has(kind) || !given.apiVersion;
  if (!isFree && given.apiVersion !== apiVersion)
    throw badRequest(
      `the API version in the data (${String(given.apiVersion)}) does not match the expected API version (${apiVersion})`,
    );
  object['apiVersion'] ||= apiVersion;
  object['kind'] = kind;
}

function decodeParsed(value: unknown, apiVersion: string, kind: string): Omit<Decoded, 'duplicateFields'> {
  if (!isJsonObject(value))
    throw badRequest(
      `the object provided is unrecognized (must be of type ${kind}): json: cannot unmarshal ${nameOfValue(value)} into Go value of type struct`,
    );
  checkIdentity(value, apiVersion, kind);
  const typeName = typeOfKind(apiVersion, kind);
  if (!typeName) return { object: value, unknownFields: [] };
  const subject = `${kind} in version "${parseApiVersion(apiVersion).version}" cannot be handled as a ${kind}`;
  return { object: value, unknownFields: walkObject(value, typeName, subject) };
}

function toText(body: Uint8Array | string): string {
  return typeof body === 'string'
    ? body
    : Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8');
}

/**
 * A JSON body as an object of this kind, which the body may leave out; kinds without a type in the tables
 * (custom resources) are returned as they are.
 * @throws RequestError 400 for text that is not JSON, another kind, and values of the wrong type.
 */
export function decodeJson(
  body: Uint8Array | string,
  apiVersion: string,
  kind: string,
  options: DecodeOptions = {},
): Decoded {
  const text = toText(body);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badRequest(
      `the object provided is unrecognized (must be of type ${kind}): couldn't get version/kind; json parse error: ${formatError(error)}`,
      error,
    );
  }
  const duplicateFields = options.reportDuplicates ? findDuplicateFields(text) : [];
  return { ...decodeParsed(value, apiVersion, kind), duplicateFields };
}

/** A YAML value as JSON: no dates, tags or undefined. @throws RequestError 400 when it is not YAML. */
function parseYamlBody(body: Uint8Array | string, rejectDuplicates = false): unknown {
  try {
    return load(toText(body), { schema: CORE_SCHEMA, json: !rejectDuplicates });
  } catch (error) {
    throw badRequest(`error converting YAML to JSON: yaml: ${formatError(error)}`, error);
  }
}

/** As `decodeJson`, for `application/yaml`; with `reportDuplicates` a key given twice is an error. */
export function decodeYaml(
  body: Uint8Array | string,
  apiVersion: string,
  kind: string,
  options: DecodeOptions = {},
): Decoded {
  const value = parseYamlBody(body, options.reportDuplicates);
  return { ...decodeParsed(value, apiVersion, kind), duplicateFields: [] };
}

/**
 * Checks a value that is parsed already, for example the result of a patch, in place.
 * @throws RequestError 400 for values of the wrong type.
 */
export function decodeValue(value: unknown, apiVersion: string, kind: string): Decoded {
  return { ...decodeParsed(value, apiVersion, kind), duplicateFields: [] };
}

/** One text per finding: `unknown field "spec.foo"`, for the Warning headers of fieldValidation=Warn. */
export function formatFieldWarnings(decoded: Pick<Decoded, 'unknownFields' | 'duplicateFields'>): string[] {
  return [
    ...decoded.unknownFields.map((path) => `unknown field "${path}"`),
    ...decoded.duplicateFields.map((path) => `duplicate field "${path}"`),
  ];
}
