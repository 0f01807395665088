import { checkComponents } from './components.ts';
import { completeCluster, completeConfig, type DocumentFields } from './defaults.ts';
import { parseDocuments, type RawDocument } from './documents.ts';
import { applyOverrides, checkMixedFlags, type Overrides } from './flags.ts';
import type { DocumentKindName } from './kinds.ts';
import { migrateDocuments } from './migrate.ts';
import { configError, createChecker, type FieldProblem } from './problems.ts';
import type {
  ClusterConfiguration,
  ConfigKind,
  ConfigOfKind,
  MachineDefaults,
  TkadmConfiguration,
} from './types.ts';
import { validateClusterConfig, validateConfig } from './validate.ts';

export interface LoadOptions<K extends ConfigKind> {
  /** The configuration file; undefined without one. */
  readonly text?: string | undefined;
  readonly kind: K;
  /** Flags of the command line, by name. */
  readonly overrides?: Overrides;
  readonly defaultsFrom: MachineDefaults;
  /** Unknown and duplicate fields are errors; else warnings. Default true. */
  readonly isStrict?: boolean;
}

export interface LoadedConfig<T> {
  /** Complete and frozen. */
  readonly config: T;
  readonly warnings: readonly string[];
}

/**
 * Reads the configuration of a command: documents, then flags over them, then defaults, then validation.
 * @throws CONFIG_INVALID naming every field that is wrong, CONFIG_FLAGS_MIXED.
 */
export async function loadConfiguration<K extends ConfigKind>(
  options: LoadOptions<K>,
): Promise<LoadedConfig<ConfigOfKind[K]>> {
  const { kind, overrides = {}, text, isStrict = true } = options;
  if (text !== undefined) checkMixedFlags(kind, overrides);
  const parsed = text === undefined ? { documents: [], warnings: [] } : parseDocuments(text, isStrict);
  const { fields, warnings } = await readFields(migrateDocuments(parsed.documents), isStrict);
  const withFlags = toFields(applyOverrides(toDocuments(fields), kind, overrides));
  const config = completeConfig(kind, withFlags, options.defaultsFrom);
  const checker = createChecker();
  validateConfig(config, checker);
  if (checker.problems.length > 0) throw configError(checker.problems);
  const notes =
    config.kind === 'InitConfiguration'
      ? checkComponents(config.cluster, config.kubelet, config.kubeProxy)
      : [];
  const sockets = socketWarnings(withFlags);
  return {
    config: deepFreeze(config),
    warnings: [...parsed.warnings, ...warnings, ...sockets, ...checker.warnings, ...notes],
  };
}

/**
 * Reads the ClusterConfiguration that a cluster keeps in the ConfigMap kube-system/kubeadm-config.
 * Fields that a newer version added are left out. The engine decides nothing here but defaults.
 * @throws CONFIG_INVALID
 */
export async function parseClusterConfiguration(
  text: string,
  tkadm: TkadmConfiguration,
): Promise<LoadedConfig<ClusterConfiguration>> {
  const parsed = parseDocuments(text, false);
  const { fields, warnings } = await readFields(migrateDocuments(parsed.documents), false);
  if (!fields.ClusterConfiguration) {
    throw configError([
      { path: 'kind', rule: 'Required value', message: 'no ClusterConfiguration is there' },
    ]);
  }
  const cluster = completeCluster(fields.ClusterConfiguration, tkadm);
  const checker = createChecker();
  validateClusterConfig(cluster, tkadm, checker);
  if (checker.problems.length > 0) throw configError(checker.problems);
  return { config: deepFreeze(cluster), warnings: [...parsed.warnings, ...warnings, ...checker.warnings] };
}

/** Checks the documents against their schemas. @throws CONFIG_INVALID with all problems of all documents. */
async function readFields(documents: readonly RawDocument[], isStrict: boolean) {
  if (documents.length === 0) return { fields: {} as DocumentFields, warnings: [] as readonly string[] };
  const { checkSchema } = await import('./schema-check.ts');
  const problems: FieldProblem[] = [];
  const warnings: string[] = [];
  const fields: Partial<Record<DocumentKindName, RawDocument['fields']>> = {};
  for (const document of documents) {
    const result = checkSchema(document, isStrict);
    problems.push(...result.problems);
    warnings.push(...result.warnings);
    fields[document.kind] = result.fields;
  }
  if (problems.length > 0) throw configError(problems);
  return { fields: fields as DocumentFields, warnings: warnings as readonly string[] };
}

function toDocuments(fields: DocumentFields): readonly RawDocument[] {
  return Object.entries(fields).map(([kind, value]) => ({
    kind: kind as DocumentKindName,
    version: '',
    isDeprecated: false,
    fields: value,
  }));
}

function toFields(documents: readonly RawDocument[]): DocumentFields {
  return Object.fromEntries(documents.map((document) => [document.kind, document.fields]));
}

function socketWarnings(fields: DocumentFields): readonly string[] {
  const nodes = [fields.InitConfiguration, fields.JoinConfiguration].map(
    (document) => (document?.['nodeRegistration'] as { criSocket?: string } | undefined)?.criSocket,
  );
  return [...nodes, fields.ResetConfiguration?.['criSocket'] as string | undefined]
    .filter((socket) => socket?.startsWith('/'))
    .map((socket) => `criSocket "${socket}" has no scheme: "unix://${socket}" is used`);
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const item of Object.values(value)) deepFreeze(item);
  return Object.freeze(value);
}
