import { TkadmError } from '../../runtime/base/errors.ts';
import type { CliContext } from './context.ts';

/** @throws NOT_ROOT */
export function requireRoot(context: CliContext): void {
  if (context.uid === 0) return;
  throw new TkadmError('NOT_ROOT', `Cannot change this machine as user ${context.uid}: root is needed`, {
    hint: 'sudo tkadm ...',
  });
}
