import { resolve } from 'node:path';
import { isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import { ANY_MACHINE } from '../config/defaults.ts';
import { parseDocuments } from '../config/documents.ts';
import { loadConfiguration, READ_KINDS } from '../config/load.ts';
import { migrateConfiguration } from '../config/migrate-command.ts';
import {
  buildDefaultDocuments,
  COMPONENT_KINDS,
  type ComponentKind,
  printDefaults,
} from '../config/print.ts';
import { configError, type FieldProblem, formatProblem } from '../config/problems.ts';
import type { ConfigKind } from '../config/types.ts';
import { type CliContext, readInput } from './context.ts';
import { writeData } from './output.ts';

const PRINTABLE: Readonly<Record<string, ConfigKind>> = {
  'init-defaults': 'InitConfiguration',
  'join-defaults': 'JoinConfiguration',
  'reset-defaults': 'ResetConfiguration',
  'upgrade-defaults': 'UpgradeConfiguration',
};

export interface PrintOptions {
  readonly componentConfigs?: readonly string[];
  readonly output: string;
}

/** `tkadm config print init-defaults`: YAML, or a JSON list of the documents. @throws USAGE */
export function runConfigPrint(context: CliContext, what: string, options: PrintOptions): void {
  const kind = PRINTABLE[what];
  if (!kind) {
    const known = Object.keys(PRINTABLE).join(', ');
    throw new TkadmError('USAGE', `Cannot print "${what}": it is none of ${known}`);
  }
  const components = parseComponents(kind, options.componentConfigs ?? []);
  if (options.output === 'json') writeData(context, 'json', buildDefaultDocuments(kind, components), '');
  else context.write(printDefaults(kind, components));
}

function parseComponents(kind: ConfigKind, names: readonly string[]): readonly ComponentKind[] {
  if (kind !== 'InitConfiguration' && names.length > 0) {
    throw new TkadmError('USAGE', 'Cannot use "--component-configs": only init-defaults has such documents');
  }
  const unknown = names.find((name) => !COMPONENT_KINDS.includes(name as ComponentKind));
  if (unknown === undefined) return names as readonly ComponentKind[];
  throw new TkadmError(
    'USAGE',
    `Cannot print component "${unknown}": it is none of ${COMPONENT_KINDS.join(', ')}`,
  );
}

export interface ValidateOptions {
  readonly config: string;
  readonly allowDeprecatedApi?: boolean;
  readonly output: string;
}

/** `tkadm config validate --config FILE`: "ok", or every wrong field. */
export async function runConfigValidate(context: CliContext, options: ValidateOptions): Promise<void> {
  const text = await readInput(context, options.config);
  const { documents } = parseDocuments(text, { path: options.config });
  const warnings = new Set<string>();
  const problems = new Map<string, FieldProblem>();
  for (const kind of Object.values(PRINTABLE)) {
    if (!documents.some((document) => READ_KINDS[kind].includes(document.kind))) continue;
    try {
      const loaded = await loadConfiguration({ kind, text, path: options.config, defaultsFrom: ANY_MACHINE });
      for (const warning of loaded.warnings) warnings.add(warning);
    } catch (error) {
      for (const problem of problemsOf(error)) problems.set(formatProblem(problem), problem);
    }
  }
  if (problems.size > 0) throw configError([...problems.values()]);
  const shown = [...warnings].filter((text) => !options.allowDeprecatedApi || !isDeprecation(text));
  for (const warning of shown) context.writeError(`Warning: ${warning}\n`);
  writeData(context, options.output, { ok: true, warnings: shown }, 'ok\n');
}

/** The problems of a CONFIG_INVALID; any other error is thrown. */
function problemsOf(error: unknown): readonly FieldProblem[] {
  const problems = isTkadmError(error, 'CONFIG_INVALID') ? error.details?.['problems'] : undefined;
  if (!problems) throw error;
  return problems as readonly FieldProblem[];
}

function isDeprecation(warning: string): boolean {
  return warning.startsWith('apiVersion ') && warning.includes(' is deprecated');
}

export interface MigrateOptions {
  readonly oldConfig: string;
  readonly newConfig?: string;
  readonly force?: boolean;
}

/** `tkadm config migrate --old-config FILE`: the same documents in today's version. @throws USAGE for a file that is there */
export async function runConfigMigrate(context: CliContext, options: MigrateOptions): Promise<void> {
  const { oldConfig, newConfig } = options;
  const { yaml, notes } = migrateConfiguration(await readInput(context, oldConfig), oldConfig);
  for (const note of notes) context.writeError(`Note: ${note}\n`);
  if (newConfig === undefined) {
    context.write(yaml);
    return;
  }
  const path = resolve(context.cwd, newConfig);
  if (!options.force && (await context.fileExists(path))) {
    throw new TkadmError('USAGE', `Cannot write "${newConfig}": the file is there already`, {
      hint: 'Give another --new-config, or --force to replace the file',
    });
  }
  const { writeFileAtomic } = await import('../../runtime/base/files.ts');
  // Tokens and keys are among the fields.
  await writeFileAtomic(path, yaml, { mode: 0o600 });
}
