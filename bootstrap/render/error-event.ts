import { ERRORS, type ErrorArea, EXIT_CODES, formatError, isTkadmError } from '../../runtime/base/errors.ts';
import { maskDeep, maskSecrets } from './mask.ts';

/** A failure as programs get it; the fields of an event's head are added to it. */
export interface ErrorReport {
  readonly code: string;
  readonly area: ErrorArea;
  readonly exitCode: number;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly details?: unknown;
}

/** What anything thrown is, without secrets. `isInterrupted`: a signal came before it. */
export function reportError(
  error: unknown,
  { isInterrupted, secrets }: { readonly isInterrupted: boolean; readonly secrets: readonly string[] },
): ErrorReport {
  if (isInterrupted) {
    return row('interrupted', 'INTERRUPTED', 'Interrupted', 'Run the same command again to go on');
  }
  if (isUsageError(error)) {
    const { message, hint } = splitUsage(error);
    return row('usage', 'USAGE', maskSecrets(message, secrets), hint && maskSecrets(hint, secrets));
  }
  if (!isTkadmError(error)) {
    return row('internal', 'INTERNAL', maskSecrets(formatError(error), secrets));
  }
  const { code, message, hint, details } = error;
  return {
    ...row(ERRORS[code], code, maskSecrets(message, secrets), hint && maskSecrets(hint, secrets)),
    ...(details ? { details: maskDeep(details, secrets) } : {}),
  };
}

function row(area: ErrorArea, code: string, message: string, hint?: string): ErrorReport {
  return { code, area, exitCode: EXIT_CODES[area], message, ...(hint ? { hint } : {}) };
}

/** An error of the parser of flags (commander's CommanderError); help that was asked for is none. */
export function isUsageError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('commander.');
}

/** "error: unknown option '--x'\n(Did you mean --y?)" */
function splitUsage(error: Error & { readonly code: string }): { message: string; hint: string | undefined } {
  if (error.code === 'commander.help')
    return { message: 'Cannot run a group of commands: the command is missing', hint: 'tkadm --help' };
  const [message = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
  const hint = rest
    .join(' ')
    .replace(/^\((.*)\)$/, '$1')
    .trim();
  return { message, hint: hint === '' ? 'Add --help for the list of commands and flags' : hint };
}
