import { Ajv, type ErrorObject } from 'ajv';
import { findSimilar } from '../../runtime/base/similar.ts';
import type { RawDocument, RawObject } from './documents.ts';
import type { DocumentKindName } from './kinds.ts';
import { formatFieldPath, lineOf, type Places } from './places.ts';
import type { FieldProblem } from './problems.ts';
import { redactValue } from './redact.ts';
import { OLD_SCHEMAS, SCHEMAS } from './schemas.ts';

export interface SchemaResult {
  /** The document without nulls and without fields that are not known. */
  readonly document: RawDocument;
  /** Values of the wrong type. */
  readonly problems: readonly FieldProblem[];
  /** Fields that are not known. */
  readonly unknown: readonly FieldProblem[];
}

/** Compiles each schema once. */
const AJV = new Ajv({
  allErrors: true,
  verbose: true,
  strict: false,
  validateFormats: false,
  // The schemas are tkadm's own: to check each by JSON Schema's own schema takes longer than all the rest.
  meta: false,
  validateSchema: false,
  // A validator runs once: to make its code shorter takes longer than to run the longer one.
  code: { optimize: false },
});

/** Checks a document's fields and their types. */
export function checkSchema(source: RawDocument): SchemaResult {
  const { kind, places } = source;
  const document = { ...source, fields: withoutNulls(source.fields) as RawObject };
  const validate = AJV.compile(schemaOf(source));
  validate(document.fields);
  const errors = validate.errors ?? [];
  const unknown = errors.filter((error) => error.keyword === 'additionalProperties');
  const typed = errors.filter((error) => error.keyword !== 'additionalProperties');
  for (const error of unknown) deleteAt(document.fields, error.instancePath, unknownName(error));
  return {
    document,
    problems: typed.map((error) => toProblem(error, kind, places)),
    unknown: unknown.map((error) => unknownField(error, kind, places)),
  };
}

function schemaOf({ kind, version }: RawDocument) {
  return OLD_SCHEMAS[version]?.[kind] ?? SCHEMAS[kind];
}

/** The parts of a problem that say where it is. */
function locate(pointer: string, document: DocumentKindName, places: Places | undefined) {
  const line = lineOf(places, pointer);
  const source = line === undefined ? undefined : `line ${line}`;
  return { document, path: formatFieldPath(pointer), source };
}

function unknownField(error: ErrorObject, kind: DocumentKindName, places: Places | undefined): FieldProblem {
  const name = unknownName(error);
  const known = Object.keys((error.parentSchema?.['properties'] as Record<string, unknown>) ?? {});
  const similar = findSimilar(name, known);
  const isCase = similar !== undefined && similar.toLowerCase() === name.toLowerCase();
  const advice = similar === undefined ? '' : isCase ? `; write "${similar}"` : `; is "${similar}" meant?`;
  return {
    ...locate(`${error.instancePath}/${escapeKey(name)}`, kind, places),
    rule: 'Unknown field',
    message: `${kind} has no field "${name}" here${advice}`,
  };
}

function unknownName(error: ErrorObject): string {
  return String((error.params as { additionalProperty: string }).additionalProperty);
}

function escapeKey(key: string): string {
  return key.replaceAll('~', '~0').replaceAll('/', '~1');
}

function toProblem(error: ErrorObject, kind: DocumentKindName, places: Places | undefined): FieldProblem {
  const place = locate(error.instancePath, kind, places);
  const value = error.data;
  if (error.keyword === 'required') {
    const name = String((error.params as { missingProperty: string }).missingProperty);
    const path = place.path === '' ? name : `${place.path}.${name}`;
    return { ...place, path, rule: 'Required value', message: 'it must be set' };
  }
  if (error.keyword === 'enum') {
    const supported = (error.schema as readonly string[]).map((text) => JSON.stringify(text)).join(', ');
    return { ...place, rule: 'Unsupported value', value, message: `supported values are ${supported}` };
  }
  if (error.keyword === 'pattern') {
    return {
      ...place,
      rule: 'Invalid value',
      value,
      message: 'write a duration like "10s", "5m" or "1h30m"',
    };
  }
  const type = String((error.params as { type: string }).type);
  const isScalar = type === 'string' && typeof value !== 'object';
  const quoted =
    isScalar && redactValue(place.path, value) === value ? `; write "${String(value)}" in quotes` : '';
  return {
    ...place,
    rule: 'Invalid value',
    value,
    message: `it must be ${TYPE_WORDS[type] ?? type}${quoted}`,
  };
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: 'a string',
  boolean: 'true or false',
  integer: 'a whole number',
  number: 'a number',
  array: 'a list',
  object: 'a mapping',
};

/** A copy without null fields: to the API they are unset. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null && item !== undefined)
      .map(([key, item]) => [key, withoutNulls(item)]),
  );
}

function deleteAt(root: RawObject, pointer: string, name: string): void {
  let value = root as Record<string, unknown>;
  for (const part of pointer.split('/').slice(1)) {
    value = value[part.replaceAll('~1', '/').replaceAll('~0', '~')] as Record<string, unknown>;
  }
  delete value[name];
}
