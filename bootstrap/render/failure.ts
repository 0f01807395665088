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
    context.writeError('\nInterrupted; run the same command again to go on.\n');
  } else if (found.code === 'INTERNAL' && error instanceof Error) {
    context.writeError(`error: ${maskSecrets(error.stack ?? error.message, secrets)}\n`);
    // What is wrong with flags has been said by their parser.
  } else if (!isUsageError(error)) {
    context.writeError(`error: ${found.message}\n${found.hint ? `  try: ${found.hint}\n` : ''}`);
  }
  return command.startsWith('ctr ') ? ctrExitCode(command, found) : found.exitCode;
}

/** What the runtime refuses, not how it was called: docker's daemon, whose clients end with 1 then. */
const REFUSALS: readonly string[] = [
  'CTR_NOT_FOUND',
  'CTR_AMBIGUOUS',
  'CTR_NAME_TAKEN',
  'CTR_CONFLICT',
  'CTR_STATE',
  'CTR_PATH',
  'IMAGE_NOT_FOUND',
];

/** Docker's exit codes: 125 of what could not be run, 1 of what is refused; shells' 126 and 127 of a program. */
function ctrExitCode(command: string, { code, details, exitCode }: ErrorReport): number {
  const own = (details as { readonly exitCode?: unknown } | undefined)?.exitCode;
  if (typeof own === 'number') return own;
  if (command === 'ctr run') return 125;
  return REFUSALS.includes(code) ? 1 : exitCode;
}
