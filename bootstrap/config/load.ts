import { completeCluster } from './cluster-defaults.ts';
import { checkSocketChoice } from './cri-socket.ts';
import { completeConfig, type DocumentFields } from './defaults.ts';
import { parseDocuments, type RawDocument } from './documents.ts';
import { applyOverrides, checkMixedFlags, FLAG_FIELDS, isGiven, type Overrides } from './flags.ts';
import type { DocumentKindName } from './kinds.ts';
import { migrateDocuments } from './migrate.ts';
import { describeNotes } from './notes.ts';
import { lineOf, toPointer } from './places.ts';
import { type Checker, configError, createChecker, type FieldProblem, formatProblem } from './problems.ts';
import type {
  ClusterConfiguration,
  ConfigKind,
  ConfigOfKind,
  JoinConfig,
  MachineDefaults,
  TkadmConfiguration,
} from './types.ts';
import { validateClusterConfig, validateConfig } from './validate.ts';

export interface LoadOptions<K extends ConfigKind> {
  /** The configuration file; undefined without one. */
  readonly text?: string | undefined;
  /** The file's name, for messages. */
  readonly path?: string | undefined;
  readonly kind: K;
  /** Flags of the command line, by name. */
  readonly overrides?: Overrides;
  readonly defaultsFrom: MachineDefaults;
  /** Unknown and duplicate fields are errors; else warnings. Default true. */
  readonly isStrict?: boolean;
  /** Looks for files that the configuration names; without it none is looked for. */
  readonly fileExists?: ((path: string) => Promise<boolean>) | undefined;
}

export interface LoadedConfig<T> {
  /** Complete and frozen. */
  readonly config: T;
  readonly warnings: readonly string[];
}

/** The documents that a command reads: a file must hold one of them. */
export const READ_KINDS: Readonly<Record<ConfigKind, readonly DocumentKindName[]>> = {
  InitConfiguration: [
    'InitConfiguration',
    'ClusterConfiguration',
    'KubeletConfiguration',
    'KubeProxyConfiguration',
    'TkadmConfiguration',
  ],
  JoinConfiguration: ['JoinConfiguration'],
  ResetConfiguration: ['ResetConfiguration'],
  UpgradeConfiguration: ['UpgradeConfiguration'],
};

/**
 * Reads the configuration of a command: documents, then flags over them, then defaults, then validation.
 * @throws CONFIG_INVALID naming every field that is wrong, CONFIG_FLAGS_MIXED.
 */
export async function loadConfiguration<K extends ConfigKind>(
  options: LoadOptions<K>,
): Promise<LoadedConfig<ConfigOfKind[K]>> {
  const { kind, overrides = {}, text, isStrict = true } = options;
  if (text !== undefined) checkMixedFlags(kind, overrides);
  const file = text === undefined ? NO_FILE : await readDocuments(text, options.path);
  if (text !== undefined) requireKind(kind, file.documents);
  const documents = applyOverrides(file.documents, kind, overrides);
  const fields = toFields(documents);
  const config = completeConfig(kind, fields, options.defaultsFrom);
  const checker = createChecker();
  validateConfig(config, checker);
  checkSocketChoice(fields, config, { machine: options.defaultsFrom, checker });
  if (config.kind === 'JoinConfiguration') await checkDiscoveryFile(config, checker, options.fileExists);
  const wrong = checker.problems.map((problem) => nameSource(problem, { kind, documents, overrides }));
  const problems = isStrict ? [...file.ignored, ...wrong] : wrong;
  if (problems.length > 0) throw configError(problems);
  return {
    config: deepFreeze(config),
    warnings: [
      ...file.warnings,
      ...file.ignored.map(formatIgnored),
      ...checker.warnings,
      ...describeNotes(fields, config),
    ],
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
  const { documents, ignored, warnings } = await readDocuments(text);
  const fields = toFields(documents);
  if (!fields.ClusterConfiguration) {
    throw configError([
      { path: 'kind', rule: 'Required value', message: 'no ClusterConfiguration is there' },
    ]);
  }
  const cluster = completeCluster(fields.ClusterConfiguration, tkadm);
  const checker = createChecker();
  validateClusterConfig(cluster, tkadm, checker);
  if (checker.problems.length > 0) throw configError(checker.problems);
  return {
    config: deepFreeze(cluster),
    warnings: [...warnings, ...ignored.map(formatIgnored), ...checker.warnings],
  };
}

interface ReadDocuments {
  readonly documents: readonly RawDocument[];
  /** Fields that are unknown or occur twice, and so are not read. */
  readonly ignored: readonly FieldProblem[];
  readonly warnings: readonly string[];
}

const NO_FILE: ReadDocuments = { documents: [], ignored: [], warnings: [] };

/** The documents of a text in today's version. @throws CONFIG_INVALID with all problems of all documents. */
async function readDocuments(text: string, path?: string): Promise<ReadDocuments> {
  const parsed = parseDocuments(text, { path });
  const { checkSchema } = await import('./schema-check.ts');
  const results = parsed.documents.map((document) => checkSchema(document));
  const ignored = [...parsed.duplicates, ...results.flatMap((result) => result.unknown)];
  const problems = results.flatMap((result) => result.problems);
  if (problems.length > 0) throw configError([...ignored, ...problems]);
  return {
    documents: migrateDocuments(results.map((result) => result.document)),
    ignored,
    warnings: parsed.warnings,
  };
}

function formatIgnored(problem: FieldProblem): string {
  return `${formatProblem(problem)}${problem.rule === 'Unknown field' ? '; it is ignored' : ''}`;
}

/** @throws CONFIG_INVALID for a file without any document that the command reads. */
function requireKind(kind: ConfigKind, documents: readonly RawDocument[]): void {
  const wanted = READ_KINDS[kind];
  if (documents.some((row) => wanted.includes(row.kind))) return;
  const found = documents.map((row) => row.kind).join(', ');
  throw configError([
    {
      path: 'kind',
      rule: 'Required value',
      message: `${wanted.slice(0, 2).join(' or ')} is not in the file, which has ${found}`,
    },
  ]);
}

async function checkDiscoveryFile(
  { discovery }: JoinConfig,
  check: Checker,
  fileExists: LoadOptions<'JoinConfiguration'>['fileExists'],
): Promise<void> {
  const path = discovery.file?.kubeConfigPath ?? '';
  if (!fileExists || !path.startsWith('/') || (await fileExists(path))) return;
  check
    .of('JoinConfiguration')
    .invalid(
      'discovery.file.kubeConfigPath',
      path,
      'there is no such file',
      'tkadm join --discovery-file FILE',
    );
}

interface Origin {
  readonly kind: ConfigKind;
  readonly documents: readonly RawDocument[];
  readonly overrides: Overrides;
}

/** The problem with its value as it was typed, and the flag or line that it is from. */
function nameSource(problem: FieldProblem, { kind, documents, overrides }: Origin): FieldProblem {
  const document = documents.find((row) => row.kind === problem.document);
  const pointer = toPointer(problem.path);
  const flag = findFlag(kind, problem, overrides);
  const line = flag === undefined ? lineOf(document?.places, pointer) : undefined;
  const typed = document && readAt(document.fields, pointer);
  // Names are compared and kept in lower case.
  const isTyped = typeof typed === 'string' && typed.trim().toLowerCase() === problem.value;
  const source = flag ?? (line === undefined ? undefined : `line ${line}`);
  return { ...problem, source, ...(isTyped ? { value: typed } : {}) };
}

/** "--node-name" for a field that a flag has set. */
function findFlag(kind: ConfigKind, problem: FieldProblem, overrides: Overrides): string | undefined {
  const path = problem.path.replaceAll(/\[(\d+)\]/g, '.$1');
  const row = FLAG_FIELDS[kind].find(
    (candidate) =>
      candidate.document === problem.document &&
      isGiven(overrides[candidate.flag]) &&
      (path === candidate.path || path.startsWith(`${candidate.path}.`)),
  );
  const isOperand = row?.argument !== undefined && !row.flag.includes('/');
  return isOperand ? row.argument : row && `--${row.argument ?? row.flag}`;
}

function readAt(value: unknown, pointer: string): unknown {
  return pointer
    .split('/')
    .slice(1)
    .reduce((at, part) => (at as Record<string, unknown> | undefined)?.[part], value);
}

function toFields(documents: readonly RawDocument[]): DocumentFields {
  return Object.fromEntries(documents.map((document) => [document.kind, document.fields]));
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const item of Object.values(value)) deepFreeze(item);
  return Object.freeze(value);
}
