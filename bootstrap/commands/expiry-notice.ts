import { formatExpiryWarning, readCertificateEnds } from '../../pki/expiry-warning.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import type { CliContext } from './context.ts';

/** Commands whose output is a stream of events, when it is not text. */
const RUN_COMMANDS: readonly string[] = ['init', 'join', 'reset'];
/** These show or change the ends themselves, or are evaluated by a shell. */
const SILENT_COMMANDS: readonly string[] = ['certs', 'completion'];

/** Warns before a command of certificates that end soon: on standard error, or as an event of a run. */
export async function noticeExpiry(
  context: CliContext,
  { command, output }: { readonly command: string; readonly output: string },
): Promise<void> {
  if (SILENT_COMMANDS.includes(command)) return;
  const ends = readCertificateEnds(PATHS.kubernetes, `${PATHS.kubelet}/pki`);
  const message = formatExpiryWarning(ends, context.now());
  if (message === undefined) return;
  if ((output === 'json' || output === 'yaml') && RUN_COMMANDS.includes(command)) {
    const { formatEvent } = await import('../render/event-line.ts');
    const event = { type: 'note', level: 'warning', message };
    context.write(formatEvent(event, { command, now: context.now }, output));
  } else context.writeError(`Warning: ${message}\n`);
}
