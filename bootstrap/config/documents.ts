import { CORE_SCHEMA, loadAll, mergeTag, YAMLException } from 'js-yaml';
import { TkadmError } from '../../runtime/base/errors.ts';
import { DOCUMENT_KINDS, type DocumentKind, type DocumentKindName, REMOVED_VERSIONS } from './kinds.ts';

export type RawObject = Readonly<Record<string, unknown>>;

/** A document as it was written, with its place in the tables; `apiVersion` and `kind` are left out. */
export interface RawDocument {
  readonly kind: DocumentKindName;
  readonly version: string;
  readonly isDeprecated: boolean;
  readonly fields: RawObject;
}

export interface ParsedDocuments {
  readonly documents: readonly RawDocument[];
  readonly warnings: readonly string[];
}

const SCHEMA = CORE_SCHEMA.withTags(mergeTag);

/**
 * Splits YAML or JSON text into documents of known kinds.
 * @throws CONFIG_INVALID for broken YAML, a duplicate key (a warning unless strict), an unknown kind or
 *   version, and a kind that occurs twice.
 */
export function parseDocuments(text: string, isStrict: boolean): ParsedDocuments {
  const { values, warnings } = parseYaml(text, isStrict);
  const documents = values
    .filter((value) => value !== null && value !== undefined)
    .map((value, index) => identify(value, index));
  const twice = documents.find((row, index) => documents.findIndex((o) => o.kind === row.kind) < index);
  if (twice) throw invalid(`kind "${twice.kind}" occurs twice`);
  return {
    documents,
    warnings: [
      ...warnings,
      ...documents
        .filter((row) => row.isDeprecated)
        .map(
          (row) =>
            `apiVersion "kubeadm.k8s.io/${row.version}" of ${row.kind} is deprecated: ` +
            'write "kubeadm.k8s.io/v1beta4" (tkadm config migrate)',
        ),
    ],
  };
}

function parseYaml(text: string, isStrict: boolean) {
  try {
    return { values: loadAll(text, { schema: SCHEMA }), warnings: [] };
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const isDuplicate = error.reason === 'duplicated mapping key';
    if (isDuplicate && !isStrict) {
      return {
        values: loadAll(text, { schema: SCHEMA, json: true }),
        warnings: [`${formatYamlError(error)}; the last one counts`],
      };
    }
    throw invalid(formatYamlError(error), error);
  }
}

/** "duplicate field in line 3, column 1: "clusterName"": the line's key alone, since a value may be a secret. */
function formatYamlError(error: YAMLException): string {
  const reason = error.reason === 'duplicated mapping key' ? 'duplicate field' : error.reason;
  const { mark } = error;
  if (!mark) return reason;
  const key = /^[\s-]*([A-Za-z]\w*)\s*:/.exec(mark.buffer.split('\n')[mark.line] ?? '')?.[1];
  return `${reason} in line ${mark.line + 1}, column ${mark.column + 1}${key ? `: "${key}"` : ''}`;
}

function identify(value: unknown, index: number): RawDocument {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`document ${index + 1} is no mapping`);
  }
  const { apiVersion, kind, ...fields } = value as RawObject;
  for (const [name, text] of Object.entries({ apiVersion, kind })) {
    if (typeof text !== 'string' || text === '') throw invalid(`document ${index + 1} has no "${name}"`);
  }
  const [group = '', version = ''] = String(apiVersion).split('/');
  if (group === 'kubeadm.k8s.io' && REMOVED_VERSIONS[version]) {
    throw invalid(
      `apiVersion "${apiVersion}" is no longer read`,
      undefined,
      `Migrate the file with kubeadm ${REMOVED_VERSIONS[version]}: kubeadm config migrate --old-config FILE`,
    );
  }
  const row: DocumentKind | undefined = DOCUMENT_KINDS.find(
    (candidate) => candidate.kind === kind && candidate.group === group,
  );
  if (!row) {
    const known = DOCUMENT_KINDS.map(
      (candidate) => `${candidate.group}/${candidate.version} ${candidate.kind}`,
    );
    throw invalid(`no document is of "${apiVersion}" "${kind}"; known are ${known.join(', ')}`);
  }
  const isDeprecated = row.deprecatedVersions?.includes(version) ?? false;
  if (version !== row.version && !isDeprecated) {
    throw invalid(`version "${version}" of ${kind} is not known; write "${row.group}/${row.version}"`);
  }
  return { kind: row.kind as DocumentKindName, version, isDeprecated, fields };
}

function invalid(state: string, cause?: unknown, hint?: string): TkadmError {
  return new TkadmError('CONFIG_INVALID', `Cannot use the configuration: ${state}`, {
    cause,
    ...(hint ? { hint } : {}),
  });
}
