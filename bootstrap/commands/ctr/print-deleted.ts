import type { CliContext } from '../context.ts';
import { formatBytes } from './units.ts';

/** What a `prune` tells, in docker's form: the names below the title of each kind, and the bytes of all. */
export function printDeleted(
  { write }: Pick<CliContext, 'write'>,
  kinds: Readonly<Record<string, readonly string[]>>,
  bytes: number,
): void {
  for (const [kind, names] of Object.entries(kinds)) {
    if (names.length > 0) write(`Deleted ${kind}:\n${names.join('\n')}\n\n`);
  }
  write(`Total reclaimed space: ${formatBytes(bytes, 1000)}\n`);
}
