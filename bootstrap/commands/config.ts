import { TkadmError } from '../../runtime/base/errors.ts';
import { parseDocuments } from '../config/documents.ts';
import { loadConfiguration } from '../config/load.ts';
import { migrateConfiguration } from '../config/migrate-command.ts';
import { printDefaults } from '../config/print.ts';
import type { ConfigKind } from '../config/types.ts';
import { type CliContext, readInput } from './context.ts';
import { writeData } from './output.ts';

const PRINTABLE: Readonly<Record<string, ConfigKind>> = {
  'init-defaults': 'InitConfiguration',
  'join-defaults': 'JoinConfiguration',
  'reset-defaults': 'ResetConfiguration',
  'upgrade-defaults': 'UpgradeConfiguration',
};

/** `tkadm config print init-defaults`. @throws USAGE */
export function runConfigPrint(context: CliContext, what: string): void {
  const kind = PRINTABLE[what];
  if (!kind)
    throw new TkadmError(
      'USAGE',
      `Cannot print "${what}": it is none of ${Object.keys(PRINTABLE).join(', ')}`,
    );
  context.write(printDefaults(kind));
}

/** `tkadm config validate --config FILE`: "ok", or every wrong field. */
export async function runConfigValidate(
  context: CliContext,
  options: { readonly config: string; readonly output: string },
): Promise<void> {
  const text = await readInput(context, options.config);
  const { documents } = parseDocuments(text, true);
  const kinds = Object.values(PRINTABLE).filter((kind) =>
    documents.some((document) => document.kind === kind),
  );
  const warnings: string[] = [];
  for (const kind of kinds.length > 0 ? kinds : (['InitConfiguration'] as const)) {
    const loaded = await loadConfiguration({
      kind,
      text,
      defaultsFrom: { hostname: 'node', advertiseAddress: '1.2.3.4' },
    });
    warnings.push(...loaded.warnings);
  }
  for (const warning of warnings) context.writeError(`Warning: ${warning}\n`);
  writeData(context, options.output, { ok: true, warnings }, 'ok\n');
}

/** `tkadm config migrate --old-config FILE`: the same documents in today's version. */
export async function runConfigMigrate(
  context: CliContext,
  options: { readonly oldConfig: string; readonly newConfig?: string },
): Promise<void> {
  const text = migrateConfiguration(await readInput(context, options.oldConfig));
  if (options.newConfig === undefined) context.write(text);
  else {
    const { writeFileAtomic } = await import('../../runtime/base/files.ts');
    await writeFileAtomic(options.newConfig, text);
  }
}
