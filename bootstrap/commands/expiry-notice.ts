import { formatExpiryWarning, readCertificateEnds } from '../../pki/expiry-warning.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import type { CliContext } from './context.ts';

/** Commands whose output on standard output is a stream of JSON events, with `-o json`. */
const RUN_COMMANDS: readonly string[] = ['init', 'join', 'reset'];
/** These show or change the ends themselves, or are evaluated by a shell. */
const SILENT_COMMANDS: readonly string[] = ['certs', 'completion'];

/** Warns before a command of certificates that end soon: on standard error, or as an event of a run. */
export function noticeExpiry(
  context: CliContext,
  { command, output }: { readonly command: string; readonly output: string | undefined },
): void {
  if (SILENT_COMMANDS.includes(command)) return;
  const ends = readCertificateEnds(PATHS.kubernetes, `${PATHS.kubelet}/pki`);
  const message = formatExpiryWarning(ends, context.now());
  if (message === undefined) return;
  if (output === 'json' && RUN_COMMANDS.includes(command)) {
    context.write(`${JSON.stringify({ type: 'note', level: 'warning', message })}\n`);
  } else context.writeError(`Warning: ${message}\n`);
}
