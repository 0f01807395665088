import { Ajv, type ErrorObject } from 'ajv';
import type { RawDocument, RawObject } from './documents.ts';
import type { FieldProblem } from './problems.ts';
import { SCHEMAS, type Schema } from './schemas.ts';

export interface SchemaResult {
  /** The document without nulls and, when fields that are not known are only warned of, without those. */
  readonly fields: RawObject;
  readonly problems: readonly FieldProblem[];
  readonly warnings: readonly string[];
}

const AJV_OPTIONS = {
  allErrors: true,
  verbose: true,
  strict: false,
  validateFormats: false,
  // The schemas are tkadm's own: to check each by JSON Schema's own schema takes longer than all the rest.
  meta: false,
  validateSchema: false,
} as const;

/** Checks a document's fields and their types. Unknown fields are problems when strict, else warnings. */
export function checkSchema(document: RawDocument, isStrict: boolean): SchemaResult {
  const fields = withoutNulls(document.fields) as RawObject;
  const ajv = new Ajv(AJV_OPTIONS);
  const validate = ajv.compile(SCHEMAS[document.kind] as Schema);
  validate(fields);
  const errors = validate.errors ?? [];
  const unknown = errors.filter((error) => error.keyword === 'additionalProperties');
  const typed = errors.filter((error) => error.keyword !== 'additionalProperties').map(toProblem);
  if (isStrict) {
    return {
      fields,
      problems: [...unknown.map((e) => unknownField(document.kind, e)), ...typed],
      warnings: [],
    };
  }
  for (const error of unknown) deleteAt(fields, error.instancePath, unknownName(error));
  return {
    fields,
    problems: typed,
    warnings: unknown.map((error) => {
      const { path, message } = unknownField(document.kind, error);
      return `${path}: ${message}; it is ignored`;
    }),
  };
}

/** "/apiServer/extraArgs/0/name" → "apiServer.extraArgs[0].name" */
export function formatFieldPath(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .reduce(
      (path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : path === '' ? part : `${path}.${part}`),
      '',
    );
}

function unknownField(kind: string, error: ErrorObject): FieldProblem {
  const name = unknownName(error);
  const known = Object.keys((error.parentSchema?.['properties'] as Record<string, unknown>) ?? {});
  const similar = findSimilar(name, known);
  const isCase = similar !== undefined && similar.toLowerCase() === name.toLowerCase();
  const advice = similar === undefined ? '' : isCase ? `; write "${similar}"` : `; is "${similar}" meant?`;
  return {
    path: formatFieldPath(`${error.instancePath}/${name}`),
    rule: 'Unknown field',
    message: `${kind} has no field "${name}" here${advice}`,
  };
}

function unknownName(error: ErrorObject): string {
  return String((error.params as { additionalProperty: string }).additionalProperty);
}

function toProblem(error: ErrorObject): FieldProblem {
  const path = formatFieldPath(error.instancePath);
  const value = /token|certificateKey/i.test(path) ? undefined : error.data;
  if (error.keyword === 'required') {
    const name = String((error.params as { missingProperty: string }).missingProperty);
    return { path: `${path}.${name}`, rule: 'Required value', message: 'it must be set' };
  }
  if (error.keyword === 'enum') {
    const supported = (error.schema as readonly string[]).map((text) => JSON.stringify(text)).join(', ');
    return { path, rule: 'Unsupported value', value, message: `supported values are ${supported}` };
  }
  if (error.keyword === 'pattern') {
    return { path, rule: 'Invalid value', value, message: 'write a duration like "10s", "5m" or "1h30m"' };
  }
  const type = String((error.params as { type: string }).type);
  const quoted =
    type === 'string' && value !== undefined && typeof value !== 'object'
      ? `; write "${value}" in quotes`
      : '';
  const article = /^[aeiou]/.test(type) ? 'an' : 'a';
  return { path, rule: 'Invalid value', value, message: `it must be ${article} ${type}${quoted}` };
}

/** The known name that differs in case only, or else by at most two letters. */
function findSimilar(name: string, known: readonly string[]): string | undefined {
  const sameLetters = known.find((candidate) => candidate.toLowerCase() === name.toLowerCase());
  if (sameLetters) return sameLetters;
  const ranked = known
    .map((candidate) => ({ candidate, distance: editDistance(name, candidate) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best && best.distance <= 2 && best.distance < name.length / 2 ? best.candidate : undefined;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replace = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replace, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

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
