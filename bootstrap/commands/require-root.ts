import { TkadmError } from '../../runtime/base/errors.ts';
import type { CliContext } from './context.ts';

/** @throws NOT_ROOT */
export function requireRoot(context: Pick<CliContext, 'uid'>): void {
  if (context.uid === 0) return;
  throw new TkadmError('NOT_ROOT', `Cannot change this machine as user ${context.uid}: root is needed`, {
    hint: 'sudo tkadm ...',
  });
}

/** A dry run needs no root: it shows what can be seen without. @throws NOT_ROOT for a real one. */
export function requireRootUnlessDry(
  context: Pick<CliContext, 'uid'>,
  isDryRun: boolean,
  warn: (message: string) => void,
): void {
  if (!isDryRun) requireRoot(context);
  else if (context.uid !== 0) warn('not root: files that only root may read cannot be compared');
}
