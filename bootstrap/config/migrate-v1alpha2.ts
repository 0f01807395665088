import type { OldDocument, RawDocument, RawObject } from './documents.ts';
import { isMapping } from './fields.ts';
import { apiVersionOf, type DocumentKindName, type MigratedKind } from './kinds.ts';
import { MASTER_FIELDS, NODE_FIELDS, type OldField } from './v1alpha2-fields.ts';

const ROWS: Readonly<Record<MigratedKind, readonly OldField[]>> = {
  'v1alpha2/MasterConfiguration': MASTER_FIELDS,
  'v1alpha2/NodeConfiguration': NODE_FIELDS,
};

export interface ConvertedDocument {
  readonly documents: readonly RawDocument[];
  /** Each field that is not carried over as it was, and why. */
  readonly notes: readonly string[];
}

/** Converts a document of kubeadm.k8s.io/v1alpha2 to today's kinds: each field has a row, or is named as dropped. */
export function convertOldDocument({ kind, fields }: OldDocument): ConvertedDocument {
  const rows = ROWS[kind];
  const results: Partial<Record<DocumentKindName, RawObject>> = {};
  const notes: string[] = [];
  for (const { path, value } of listFields(fields, rows)) {
    const row = rows.find((candidate) => candidate.from === path);
    if (value === '' || value === null) notes.push(`${path}: dropped: it is empty, which means the default`);
    else if (!row) notes.push(`${path}: dropped: v1alpha2 has no such field`);
    else if ('dropped' in row) notes.push(`${path}: dropped: ${row.dropped}`);
    else if (row.needs && fields[row.needs] !== true)
      notes.push(`${path}: dropped: "${row.needs}" is not set`);
    else {
      const converted = row.convert ? row.convert(value) : { value };
      if (converted.note) notes.push(`${path}: ${converted.note}`);
      if (converted.value === undefined) continue;
      results[row.to] = setField(results[row.to] ?? {}, row.path ?? path, converted.value);
    }
  }
  return { documents: toDocuments(results), notes };
}

/** The values at the paths of the rows, and those that no row has. */
function listFields(
  value: RawObject,
  rows: readonly OldField[],
  prefix = '',
): readonly { readonly path: string; readonly value: unknown }[] {
  return Object.entries(value).flatMap(([key, item]) => {
    const path = `${prefix}${key}`;
    const isGroup = isMapping(item) && rows.some((row) => row.from.startsWith(`${path}.`));
    return isGroup ? listFields(item, rows, `${path}.`) : [{ path, value: item }];
  });
}

/** The object with the value at the dotted path; a path of "" stands for the object itself. */
function setField(target: RawObject, path: string, value: unknown): RawObject {
  if (path === '') return isMapping(value) ? { ...target, ...value } : target;
  const dot = path.indexOf('.');
  const head = dot < 0 ? path : path.slice(0, dot);
  const inner = target[head];
  // Another field may have come first and made the mapping.
  if (dot < 0)
    return { ...target, [path]: isMapping(value) && isMapping(inner) ? { ...inner, ...value } : value };
  return { ...target, [head]: setField(isMapping(inner) ? inner : {}, path.slice(dot + 1), value) };
}

function toDocuments(results: Partial<Record<DocumentKindName, RawObject>>): readonly RawDocument[] {
  return Object.entries(results).map(([name, fields]) => {
    const kind = name as DocumentKindName;
    const { apiVersion: _, kind: __, ...rest } = fields;
    return { kind, version: apiVersionOf(kind).split('/')[1]!, isDeprecated: false, fields: rest };
  });
}
