import { isIgnoredName } from '../../preflight/names.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { groupOf } from '../workflow/phase.ts';
import type { CliContext } from './context.ts';

/** What a command is about to do. */
export interface RootNeed {
  readonly isDryRun: boolean;
  /** Checks to be ignored, of which IsPrivilegedUser may be one. */
  readonly ignored?: readonly string[];
  /** The one phase that is run. */
  readonly onlyPhase?: string | undefined;
}

/** Phases that act on the machine; the others write files or objects, which whoever may write can. */
const ROOT_PHASES = ['preflight', 'bundle', 'runtime', 'kubelet-start', 'kubelet-finalize', 'cleanup-node'];

/** @throws NOT_ROOT */
export function requireRoot(
  context: Pick<CliContext, 'uid'>,
  { isDryRun, ignored = [], onlyPhase }: RootNeed = { isDryRun: false },
): void {
  const isNeeded = onlyPhase === undefined || ROOT_PHASES.includes(groupOf(onlyPhase));
  if (context.uid === 0 || isDryRun || !isNeeded || isIgnoredName('IsPrivilegedUser', ignored)) return;
  throw new TkadmError('NOT_ROOT', `Cannot change this machine as user ${context.uid}: root is needed`, {
    hint: 'sudo tkadm ...',
  });
}

/** A dry run needs no root: it shows what can be seen without. @throws NOT_ROOT for a real one. */
export function requireRootUnlessDry(
  context: Pick<CliContext, 'uid'>,
  need: boolean | RootNeed,
  warn: (message: string) => void,
): void {
  const { isDryRun } = typeof need === 'boolean' ? { isDryRun: need } : need;
  requireRoot(context, typeof need === 'boolean' ? { isDryRun } : need);
  if (isDryRun && context.uid !== 0) warn('not root: files that only root may read cannot be compared');
}
