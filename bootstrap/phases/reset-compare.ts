import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import {
  compareSnapshots,
  type Difference,
  formatDifference,
  isOwnDifference,
} from '../journal/difference.ts';
import { takeSnapshot } from '../journal/snapshot.ts';
import { type Done, type Kept, planUndo } from '../journal/undo.ts';
import type { Action } from '../workflow/action.ts';
import type { ResetContext } from './reset.ts';
import { isMountPoint } from './reset-files.ts';

/** A machine after a reset against the one before its first change. */
export interface Comparison {
  /** When it was looked at then, RFC 3339; undefined: it was not, so there is nothing to compare with. */
  readonly since: string | undefined;
  /** What tkadm has left. */
  readonly left: readonly Difference[];
  /** What others have changed since, which is kept. */
  readonly others: readonly Difference[];
  /** What tkadm has changed and others after it. */
  readonly kept: readonly Kept[];
}

/** What the journal says was replaced or repaired, put back. */
export async function planRestore({ host, done, warn }: ResetContext): Promise<readonly Action[]> {
  const { actions, kept } = await planUndo(host, await done());
  for (const { name, reason } of kept) warn(`"${name}" is kept: ${reason}`);
  return actions;
}

/** Compares a machine that is reset with what it was. */
export async function compareWithBefore(host: Host, done: Done, now: () => Date): Promise<Comparison> {
  const { kept } = await planUndo(host, done);
  const { snapshot, changes } = done;
  if (!snapshot) return { since: undefined, left: [], others: [], kept };
  const differences = compareSnapshots(snapshot, await takeSnapshot(host, now));
  const isOwn = (difference: Difference) =>
    isOwnDifference(difference, changes) && !kept.some(({ name }) => name === difference.name);
  return {
    since: snapshot.time,
    left: differences.filter(isOwn),
    others: differences.filter((difference) => !isOwn(difference)),
    kept,
  };
}

/**
 * The end of a reset, once it is proved: the journal goes, and with it the last directory.
 * @throws RESET_INCOMPLETE with what is left; the journal stays for the next try
 */
export async function planEnd({ host, config, compare }: ResetContext): Promise<readonly Action[]> {
  const state = await host.stat(PATHS.state);
  if (!state) return [];
  const hasJournal = (await host.stat(PATHS.journal)) !== undefined;
  // In a dry run everything is there still.
  const { left } = config.isDryRun ? { left: [] } : await compare();
  if (left.length > 0) {
    throw new TkadmError(
      'RESET_INCOMPLETE',
      `Cannot end the reset: ${left.length} of its traces ${left.length === 1 ? 'is' : 'are'} left: ${left.map(formatDifference).join('; ')}`,
      { hint: 'tkadm reset -f, once what holds them is gone', details: { differences: left } },
    );
  }
  // A link or a disk was there before.
  const isRemoved = state.kind === 'directory' && !(await isMountPoint(host, PATHS.state));
  return [
    ...(hasJournal ? [{ kind: 'end-journal' } as const] : []),
    ...(isRemoved ? [{ kind: 'remove', path: PATHS.state } as const] : []),
  ];
}

/** Lines for people. */
export function describeComparison({ since, others }: Comparison): readonly string[] {
  if (since === undefined)
    return [
      'Nobody has looked at this machine before it became a node, so there is nothing to compare it with.',
    ];
  if (others.length === 0) return [`Compared with ${since}, before its first change: no difference.`];
  return [
    `Compared with ${since}, before its first change; none of this is of tkadm, and it is kept:`,
    ...others.map((difference) => `  ${formatDifference(difference)}`),
  ];
}
