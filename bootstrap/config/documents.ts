import { CORE_SCHEMA, constructFromEvents, mergeTag, parseEvents, YAMLException } from 'js-yaml';
import { TkadmError } from '../../runtime/base/errors.ts';
import {
  DOCUMENT_KINDS,
  type DocumentKind,
  type DocumentKindName,
  MIGRATED_KINDS,
  type MigratedKind,
  REMOVED_VERSIONS,
} from './kinds.ts';
import { findPlaces, formatFieldPath, type Places } from './places.ts';
import type { FieldProblem } from './problems.ts';
import { redactText } from './redact.ts';

export type RawObject = Readonly<Record<string, unknown>>;

/** A document as it was written, with its place in the tables; `apiVersion` and `kind` are left out. */
export interface RawDocument {
  readonly kind: DocumentKindName;
  readonly version: string;
  readonly isDeprecated: boolean;
  readonly fields: RawObject;
  /** Where its fields stand in the file; absent for a document that is in none. */
  readonly places?: Places;
}

/** A document of a kind that only `config migrate` reads. */
export interface OldDocument {
  readonly kind: MigratedKind;
  readonly fields: RawObject;
}

export interface ParsedDocuments {
  readonly documents: readonly RawDocument[];
  readonly old: readonly OldDocument[];
  /** Fields that occur more than once; the last one counts. */
  readonly duplicates: readonly FieldProblem[];
  readonly warnings: readonly string[];
}

export interface ParseOptions {
  /** The file's name, for what the reader may do with it; default "FILE". */
  readonly path?: string | undefined;
  /** Whether documents of MIGRATED_KINDS may be there. */
  readonly readsOld?: boolean;
}

const SCHEMA = CORE_SCHEMA.withTags(mergeTag);

/**
 * Splits YAML or JSON text into documents of known kinds.
 * @throws CONFIG_INVALID for broken YAML, an unknown kind or version, and a kind that occurs twice.
 */
export function parseDocuments(text: string, options: ParseOptions = {}): ParsedDocuments {
  const { path = 'FILE', readsOld = false } = options;
  const values = parseYaml(text);
  if (values.length === 0) throw invalid('there is no document in it');
  const old: OldDocument[] = [];
  const documents: RawDocument[] = [];
  const duplicates: FieldProblem[] = [];
  for (const [index, { value, places }] of values.entries()) {
    const { group, version, kind, fields } = identify(value, index);
    const oldKind = group === KUBEADM && MIGRATED_KINDS.find((row) => `${row}` === `${version}/${kind}`);
    if (oldKind && readsOld) old.push({ kind: oldKind, fields });
    else documents.push({ ...findKind({ group, version, kind, path }), fields, places });
    duplicates.push(...places.duplicates.map((place) => describeDuplicate(place, places)));
  }
  checkTwice(documents);
  return {
    documents,
    old,
    duplicates,
    warnings: documents.filter((row) => row.isDeprecated).map((row) => describeDeprecated(row, path)),
  };
}

/** @throws CONFIG_INVALID when a kind occurs twice. */
export function checkTwice(documents: readonly RawDocument[]): void {
  const twice = documents.find((row, index) => documents.findIndex((o) => o.kind === row.kind) < index);
  if (twice) throw invalid(`kind "${twice.kind}" occurs twice`);
}

const KUBEADM = 'kubeadm.k8s.io';

interface ParsedValue {
  readonly value: unknown;
  readonly places: Places;
}

/** The documents of a text that hold anything. */
function parseYaml(text: string): readonly ParsedValue[] {
  try {
    const events = parseEvents(text, {});
    const values = constructFromEvents(events, { source: text, schema: SCHEMA, json: true });
    const places = findPlaces(text, events);
    return values
      .map((value, index) => ({ value, places: places[index]! }))
      .filter(({ value }) => value !== null && value !== undefined);
  } catch (error) {
    // The exception holds the text, which may hold secrets: it is no cause.
    if (error instanceof YAMLException) throw invalid(formatYamlError(error));
    throw error;
  }
}

/** "bad indentation of a mapping entry in line 3, column 1": never the line itself, whose value may be a secret. */
function formatYamlError({ reason, mark }: YAMLException): string {
  if (reason.includes('complex keys')) return 'a key is a list or a mapping; write text';
  const text = redactText(reason);
  return mark ? `${text} in line ${mark.line + 1}, column ${mark.column + 1}` : text;
}

function describeDuplicate({ pointer, line }: Places['duplicates'][number], places: Places): FieldProblem {
  return {
    path: formatFieldPath(pointer),
    rule: 'Duplicate field',
    message: `it is set in line ${places.lines.get(pointer)} already; the last one counts`,
    source: `line ${line}`,
  };
}

function describeDeprecated({ kind, version }: RawDocument, path: string): string {
  return (
    `apiVersion "${KUBEADM}/${version}" of ${kind} is deprecated: ` +
    `write "${KUBEADM}/v1beta4" (tkadm config migrate --old-config ${path})`
  );
}

interface Identity {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

function identify(value: unknown, index: number): Identity & { readonly fields: RawObject } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`document ${index + 1} is no mapping`);
  }
  const { apiVersion, kind, ...fields } = value as RawObject;
  for (const [name, text] of Object.entries({ apiVersion, kind })) {
    if (typeof text !== 'string' || text === '') throw invalid(`document ${index + 1} has no "${name}"`);
  }
  const [group = '', version = ''] = String(apiVersion).split('/');
  return { group, version, kind: String(kind), fields };
}

function findKind({ group, version, kind, path }: Identity & { readonly path: string }) {
  const apiVersion = version === '' ? group : `${group}/${version}`;
  if (group === KUBEADM && MIGRATED_KINDS.some((row) => row === `${version}/${kind}`)) {
    const target = path === '-' || path === 'FILE' ? 'NEW' : `${path}.new`;
    throw invalid(
      `${kind} of "${apiVersion}" is no longer read`,
      `tkadm config migrate --old-config ${path} --new-config ${target}`,
    );
  }
  if (group === KUBEADM && REMOVED_VERSIONS[version]) {
    throw invalid(
      `apiVersion "${apiVersion}" is no longer read`,
      `Migrate the file with kubeadm ${REMOVED_VERSIONS[version]}: kubeadm config migrate --old-config ${path}`,
    );
  }
  const row: DocumentKind | undefined = DOCUMENT_KINDS.find(
    (candidate) => candidate.kind === kind && candidate.group === group,
  );
  if (!row) throw invalid(`no document is of "${apiVersion}" "${kind}"${describeKnown(kind)}`);
  const isDeprecated = row.deprecatedVersions?.includes(version) ?? false;
  if (version !== row.version && !isDeprecated) {
    throw invalid(`version "${version}" of ${kind} is not known; write "${row.group}/${row.version}"`);
  }
  return { kind: row.kind as DocumentKindName, version, isDeprecated };
}

/** The kind's right group or spelling, else all that are known. */
function describeKnown(kind: string): string {
  const row = DOCUMENT_KINDS.find((candidate) => candidate.kind.toLowerCase() === kind.toLowerCase());
  if (row) return `; write "${row.group}/${row.version}" "${row.kind}"`;
  return `; known are ${DOCUMENT_KINDS.map((known) => `${known.group}/${known.version} ${known.kind}`).join(', ')}`;
}

function invalid(state: string, hint?: string): TkadmError {
  return new TkadmError('CONFIG_INVALID', `Cannot use the configuration: ${state}`, hint ? { hint } : {});
}
