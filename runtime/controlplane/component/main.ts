import { formatError, isTkadmError } from '../../base/errors.ts';
import type { FlagRow, FlagValues } from '../../base/flags.ts';
import { parseFlags } from '../../base/flags.ts';
import { createLogger, type Logger } from '../../base/log.ts';
import { KUBERNETES_VERSION } from '../../base/version.ts';
import { type ComponentOptions, runComponent } from './component.ts';
import { type COMPONENT_FLAGS, formatFlagHelp } from './component-flags.ts';

const HEALTH_PATHS = ['/healthz', '/livez', '/readyz'];

/** What a component does besides what all do: between its flags and its work. */
export interface Program<Flags> {
  readonly name: string;
  readonly createWork: (options: {
    readonly flags: Flags;
    readonly signal: AbortSignal;
    readonly now: () => Date;
    readonly log: Logger;
  }) => Promise<Pick<ComponentOptions, 'prepare' | 'lead'>>;
}

type Rows = readonly FlagRow[];
type Values<R extends Rows> = FlagValues<R> & ComponentOptions['flags'] & FlagValues<typeof COMPONENT_FLAGS>;

/** The main function of a control-plane program: flags, help, log, signals, and the exit code. */
export function runProgram<R extends Rows>(rows: R, program: Program<Values<R>>): void {
  run(rows, program).then(
    () => process.exit(0),
    (error) => {
      const hint = isTkadmError(error) && error.hint ? `\n${error.hint}` : '';
      process.stderr.write(`${program.name}: ${formatError(error)}${hint}\n`);
      process.exit(1);
    },
  );
}

async function run<R extends Rows>(rows: R, { name, createWork }: Program<Values<R>>): Promise<void> {
  const flags = parseFlags(rows, process.argv.slice(2)) as Values<R>;
  if (flags.help) {
    return void process.stdout.write(`Usage:\n  ${name} [flags]\n\nFlags:\n${formatFlagHelp(rows)}`);
  }
  if (flags.version) return void process.stdout.write(`Kubernetes ${KUBERNETES_VERSION}\n`);
  const now = () => new Date();
  const log = createLogger({
    name,
    level: flags.v >= 4 ? 'debug' : 'info',
    write: (line) => process.stderr.write(line),
    now,
  });
  const end = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => end.abort());
  const work = await createWork({ flags, signal: end.signal, now, log });
  await runComponent({
    name,
    flags,
    healthPaths: HEALTH_PATHS,
    env: process.env,
    signal: end.signal,
    log,
    now,
    restart: () => end.abort(),
    ...work,
  }).catch((error) => {
    if (!end.signal.aborted) throw error;
  });
}
