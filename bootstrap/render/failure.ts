import { type ErrorReport, isUsageError, reportError } from './error-event.ts';
import { formatEvent } from './event-line.ts';
import { listGivenSecrets, maskSecrets } from './mask.ts';
import { requestedFormat } from './requested-format.ts';

/** What a command line has to tell of itself when it fails. */
export interface FailureContext {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  readonly now: () => Date;
  readonly write: (text: string) => void;
  readonly writeError: (text: string) => void;
  /** The words of the command: "token create". */
  readonly command: string;
}

/** Tells of a failure in the format that was asked for; returns the exit code. */
export function tellFailure(error: unknown, context: FailureContext): number {
  const { argv, env, signal, now, command } = context;
  const secrets = listGivenSecrets(argv, env);
  const found = reportError(error, { isInterrupted: signal.aborted, secrets });
  const format = requestedFormat(argv);
  if (format !== 'text') {
    context.write(formatEvent({ type: 'error', ...found }, { command, now }, format));
  } else if (found.code === 'INTERRUPTED') {
    // What `logs -f` and `stats` do ends so.
    if (isCtr(command)) return found.exitCode;
    context.writeError('\nInterrupted; run the same command again to go on.\n');
  } else if (found.code === 'INTERNAL' && error instanceof Error) {
    context.writeError(`error: ${maskSecrets(error.stack ?? error.message, secrets)}\n`);
    // What is wrong with flags has been said by their parser.
  } else if (!isUsageError(error)) {
    context.writeError(`error: ${found.message}\n${found.hint ? `  try: ${found.hint}\n` : ''}`);
  }
  return isCtr(command) ? ctrExitCode(error, command, found) : found.exitCode;
}

function isCtr(command: string): boolean {
  return command === 'ctr' || command.startsWith('ctr ');
}

/** Docker's: 126 and 127 for a program that cannot be run, 125 for any other failure of `run` and wrong flags, else 1. */
function ctrExitCode(error: unknown, command: string, { code, details, exitCode }: ErrorReport): number {
  const own = (details as { readonly exitCode?: unknown } | undefined)?.exitCode;
  if (typeof own === 'number') return own;
  if (code === 'INTERRUPTED') return exitCode;
  return isUsageError(error) || /^ctr (container )?run$/.test(command) ? 125 : 1;
}
