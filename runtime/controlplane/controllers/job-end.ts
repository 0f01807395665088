import type { Job, JobCondition } from 'kubernetes-types/batch/v1.d.ts';
import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { formatTime } from '../../api/time.ts';
import { timeMs } from '../component/objects.ts';
import { completionCount, type JobTally } from './job-tally.ts';

/** How a Job ends, in the words of its condition. */
export interface JobEnd {
  readonly type: 'Complete' | 'Failed';
  readonly reason: string;
  readonly message: string;
}

/** Whether the Job is at its end; the final condition waits until no pod is left. */
export function decideEnd(tally: JobTally): {
  readonly conditions: JobCondition[];
  readonly end: JobEnd | undefined;
} {
  const { job, now } = tally;
  let conditions = syncSuspended(job, now);
  const end = findEnd(tally);
  if (!end) return { conditions, end };
  const interim = end.type === 'Complete' ? 'SuccessCriteriaMet' : 'FailureTarget';
  conditions = withJobCondition(conditions, { ...end, type: interim }, now);
  const isOver =
    tally.active.length === 0 &&
    tally.terminating === 0 &&
    tally.uncounted.failed.length + tally.uncounted.succeeded.length === 0;
  if (isOver) conditions = withJobCondition(conditions, end, now);
  return { conditions, end };
}

function findEnd(tally: JobTally): JobEnd | undefined {
  const { job, succeeded, failed, active, now, pods } = tally;
  const { completions, backoffLimit = 6, activeDeadlineSeconds, template } = job.spec!;
  const target = job.status?.conditions?.find(({ type }) => type === 'FailureTarget');
  if (target) return { type: 'Failed', reason: target.reason ?? '', message: target.message ?? '' };
  const restarts = template.spec?.restartPolicy === 'OnFailure' ? sumRestarts(pods) : 0;
  if (failed > backoffLimit || (restarts > 0 && restarts >= backoffLimit && backoffLimit > 0)) {
    return {
      type: 'Failed',
      reason: 'BackoffLimitExceeded',
      message: 'Job has reached the specified backoff limit',
    };
  }
  const startMs = timeMs(job.status?.startTime);
  if (activeDeadlineSeconds !== undefined && startMs && !job.spec?.suspend) {
    if (now.getTime() - startMs >= activeDeadlineSeconds * 1000) {
      const message = 'Job was active longer than specified deadline';
      return { type: 'Failed', reason: 'DeadlineExceeded', message };
    }
  }
  const isComplete =
    completions === undefined ? succeeded > 0 && active.length === 0 : completionCount(tally) >= completions;
  const message = 'Reached expected number of succeeded pods';
  return isComplete ? { type: 'Complete', reason: 'CompletionsReached', message } : undefined;
}

function sumRestarts(pods: readonly Pod[]): number {
  return pods
    .filter((pod) => pod.status?.phase === 'Running' || pod.status?.phase === 'Pending')
    .flatMap(({ status }) => [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])])
    .reduce((total, { restartCount }) => total + restartCount, 0);
}

function syncSuspended(job: Job, now: Date): JobCondition[] {
  const conditions = job.status?.conditions ?? [];
  const isSuspended = conditions.some(({ type, status }) => type === 'Suspended' && status === 'True');
  if (job.spec?.suspend && !isSuspended) {
    const next = { type: 'Suspended', reason: 'JobSuspended', message: 'Job suspended' };
    return withJobCondition(conditions, next, now);
  }
  if (job.spec?.suspend || !isSuspended) return conditions;
  const next = { type: 'Suspended', reason: 'JobResumed', message: 'Job resumed' };
  return withJobCondition(conditions, next, now, 'False');
}

function withJobCondition(
  conditions: readonly JobCondition[],
  next: { readonly type: string; readonly reason: string; readonly message: string },
  now: Date,
  status = 'True',
): JobCondition[] {
  const present = conditions.find(({ type }) => type === next.type);
  if (present?.status === status) return [...conditions];
  const { type, reason, message } = next;
  const time = formatTime(now);
  const condition = { type, status, reason, message, lastProbeTime: time, lastTransitionTime: time };
  return [...conditions.filter((entry) => entry.type !== type), condition];
}

/** Time left until activeDeadlineSeconds are over; undefined without a deadline or after it. */
export function deadlineMs({ spec, status }: Job, now: Date): number | undefined {
  if (spec?.activeDeadlineSeconds === undefined || !status?.startTime || spec.suspend) return undefined;
  const leftMs = timeMs(status.startTime) + spec.activeDeadlineSeconds * 1000 - now.getTime();
  return leftMs > 0 ? leftMs : undefined;
}

/** True when the Job has this condition with status "True". */
export function hasCondition({ status }: Job, type: string): boolean {
  return (status?.conditions ?? []).some(
    (condition) => condition.type === type && condition.status === 'True',
  );
}
