import { formatFinding, preflightError, runPreflight, selectFatal } from '../../preflight/run.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { loadConfiguration } from '../config/load.ts';
import { buildPreflightInput } from '../phases/preflight.ts';
import type { OutputFormat } from '../render/renderer.ts';
import { type CliContext, readInput } from './context.ts';
import { observeMachine } from './machine.ts';
import { writeData } from './output.ts';
import { collectOverrides } from './overrides.ts';

export interface PreflightOptions {
  readonly config?: string;
  readonly fix?: boolean;
  readonly dryRun?: boolean;
  readonly output: OutputFormat;
}

/** `tkadm preflight`: the checks of init alone, with --fix the repairs too. */
export async function runPreflightCommand(context: CliContext, options: PreflightOptions): Promise<void> {
  const host = createLocalHost();
  const { config, warnings } = await loadConfiguration({
    kind: 'InitConfiguration',
    text: options.config === undefined ? undefined : await readInput(context, options.config),
    path: options.config,
    isStrict: false,
    overrides: collectOverrides('InitConfiguration', options as unknown as Record<string, unknown>),
    defaultsFrom: await observeMachine(host),
  });
  for (const warning of warnings) context.writeError(`Warning: ${warning}\n`);
  const input = await buildPreflightInput(config, host);
  let findings = await runPreflight(host, input);
  if (options.fix && !options.dryRun) {
    for (const argv of findings.flatMap((finding) => finding.repair ?? []))
      await host.run(argv, { signal: context.signal });
    findings = await runPreflight(host, input);
  }
  const text =
    findings.length === 0
      ? 'Preflight found nothing\n'
      : findings.map((finding) => `${formatFinding(finding)}\n`).join('');
  const fatal = selectFatal(findings, false);
  writeData(context, options.output, { ok: fatal.length === 0, findings }, text);
  if (fatal.length > 0) throw preflightError(fatal);
}
