import { writeFile } from 'node:fs/promises';
import { isSystemError, TkadmError } from '../base/errors.ts';
import type { RuntimeContext } from './runtime-context.ts';
import type { RuntimeHandler } from './runtime-handlers.ts';

const MIN_OOM_SCORE = -1000;

/**
 * The lowest score that a container of a handler can get. Where this process may not lower scores, our own engine goes on
 * without; another runtime would fail.
 */
export function minOomScore({ capabilities }: RuntimeContext, { runtimePath }: RuntimeHandler): number {
  const canLower = runtimePath === undefined || capabilities.includes('CAP_SYS_RESOURCE');
  return canLower ? MIN_OOM_SCORE : 0;
}

/**
 * Sets oom_score_adj of every process of a container, proc_pid_oom_score_adj(5); 0 means not given (CRI).
 * @throws CRI_STATE when this process may not lower it, which takes CAP_SYS_RESOURCE.
 */
export async function setOomScore(context: RuntimeContext, id: string, score: number): Promise<void> {
  if (score === 0) return;
  for (const pid of context.engine.pids(id)) {
    try {
      await writeFile(`/proc/${pid}/oom_score_adj`, String(score));
    } catch (error) {
      // It has ended meanwhile.
      if (isSystemError(error, 'ENOENT') || isSystemError(error, 'ESRCH')) continue;
      const state = (error as Error).message;
      throw new TkadmError('CRI_STATE', `Cannot set oom_score_adj of container "${id}": ${state}`);
    }
  }
}
