import { JOBS } from '../../api/kinds.ts';
import { remove } from '../component/action.ts';
import { timeMs } from '../component/objects.ts';
import { type Controller, type ReconcileResult, SETTLED, watchSelf } from './controller.ts';

/** Deletes Jobs `ttlSecondsAfterFinished` after their end. */
export function createTtlAfterFinished(): Controller {
  return {
    name: 'ttl-after-finished-controller',
    watches: [watchSelf(JOBS)],
    reconcile(key, { view, now }): ReconcileResult {
      const job = view.get(JOBS, key);
      const ttlSeconds = job?.spec?.ttlSecondsAfterFinished;
      const end = job?.status?.conditions?.find(
        ({ type, status }) => (type === 'Complete' || type === 'Failed') && status === 'True',
      );
      if (!job || ttlSeconds === undefined || !end || job.metadata?.deletionTimestamp) return SETTLED;
      const leftMs = timeMs(end.lastTransitionTime) + ttlSeconds * 1000 - now.getTime();
      if (leftMs > 0) return { actions: [], requeueAfterMs: leftMs };
      return { actions: [remove(JOBS, job, { propagationPolicy: 'Foreground' })] };
    },
  };
}
