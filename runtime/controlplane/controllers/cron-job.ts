import type { CronJob, Job } from 'kubernetes-types/batch/v1.d.ts';
import { CRON_JOBS, JOBS } from '../../api/kinds.ts';
import { formatTime } from '../../api/time.ts';
import { type Action, create, event, remove, updateStatus } from '../component/action.ts';
import { buildControllerReference, byAge, isSameJson, timeMs } from '../component/objects.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watchOwned,
  watchSelf,
} from './controller.ts';
import { nextCronTime, parseCronSchedule } from './cron-schedule.ts';

const SCHEDULED_AT = 'batch.kubernetes.io/cronjob-scheduled-timestamp';
/** More missed starts than this are a clock gone wrong; the last one is still made up for. */
const MAX_MISSED = 100;

/** Starts a Job at each moment of a CronJob's schedule. */
export function createCronJobController(): Controller {
  return {
    name: 'cronjob-controller',
    watches: [watchSelf(CRON_JOBS), watchOwned(JOBS, 'CronJob')],
    reconcile: reconcileCronJob,
  };
}

function reconcileCronJob(key: string, { view, now }: ReconcileContext): ReconcileResult {
  const cronJob = view.get(CRON_JOBS, key);
  if (!cronJob?.spec || cronJob.metadata?.deletionTimestamp) return SETTLED;
  const jobs = [...view.controlledBy(JOBS, cronJob.metadata?.uid ?? '')].sort(byAge);
  const active = jobs.filter((job) => !isFinished(job));
  const cleanup = planCleanup(cronJob, jobs);
  const base = { ...cronJob.status, active: active.map(refOf) };
  const succeededAt = Math.max(0, ...jobs.map((job) => timeMs(job.status?.completionTime)));
  const status = {
    ...base,
    ...(succeededAt > 0 ? { lastSuccessfulTime: formatTime(new Date(succeededAt)) } : {}),
  };
  const write = (next: NonNullable<CronJob['status']>): Action[] =>
    isSameJson(normalize(next), normalize(cronJob.status))
      ? []
      : [updateStatus(CRON_JOBS, { ...cronJob, status: next })];
  if (cronJob.spec.suspend) return { actions: [...write(status), ...cleanup] };
  const times = findTimes(cronJob, now);
  const requeueAfterMs = times.next && times.next.getTime() - now.getTime() + 10;
  const isBlocked = cronJob.spec.concurrencyPolicy === 'Forbid' && active.length > 0;
  if (!times.due || isBlocked || isTooLate(cronJob, times.due, now)) {
    return { actions: [...write(status), ...cleanup], requeueAfterMs };
  }
  const replaced = cronJob.spec.concurrencyPolicy === 'Replace' ? active : [];
  const job = buildJob(cronJob, times.due);
  const started = { ...status, lastScheduleTime: formatTime(times.due) };
  return {
    actions: [
      ...replaced.map((entry) => remove(JOBS, entry, { propagationPolicy: 'Background' })),
      create(JOBS, job, { ignoreExisting: true }),
      event(CRON_JOBS, cronJob, 'Normal', 'SuccessfulCreate', `Created job ${job.metadata?.name}`),
      ...write(started),
      ...cleanup,
    ],
    requeueAfterMs,
  };
}

/** The newest start that is due, and the next one. */
function findTimes(
  cronJob: CronJob,
  now: Date,
): { readonly due: Date | undefined; readonly next: Date | undefined } {
  const schedule = parseCronSchedule(cronJob.spec?.schedule ?? '');
  const timeZone = (cronJob.spec as { timeZone?: string }).timeZone ?? 'UTC';
  let after = new Date(timeMs(cronJob.status?.lastScheduleTime ?? cronJob.metadata?.creationTimestamp));
  const deadlineSeconds = cronJob.spec?.startingDeadlineSeconds;
  if (deadlineSeconds !== undefined) {
    after = new Date(Math.max(after.getTime(), now.getTime() - deadlineSeconds * 1000));
  }
  let due: Date | undefined;
  let next = nextCronTime(schedule, after, timeZone);
  for (let missed = 0; next && next <= now; missed += 1) {
    due = next;
    // After a long gap only the last start matters: look from an hour before now on.
    const from = missed === MAX_MISSED ? new Date(Math.max(next.getTime(), now.getTime() - 3_600_000)) : next;
    next = nextCronTime(schedule, from, timeZone);
  }
  return { due, next };
}

function isTooLate({ spec }: CronJob, due: Date, now: Date): boolean {
  const seconds = spec?.startingDeadlineSeconds;
  return seconds !== undefined && due.getTime() + seconds * 1000 < now.getTime();
}

/** The name carries the minute, so that a start is made once. */
function buildJob(cronJob: CronJob, due: Date): Job {
  const template = cronJob.spec?.jobTemplate;
  const { name = '', namespace = '' } = cronJob.metadata ?? {};
  return {
    metadata: {
      name: `${name}-${Math.floor(due.getTime() / 60_000)}`,
      namespace,
      labels: { ...template?.metadata?.labels },
      annotations: { ...template?.metadata?.annotations, [SCHEDULED_AT]: formatTime(due) },
      ownerReferences: [buildControllerReference(CRON_JOBS, cronJob)],
    },
    ...(template?.spec ? { spec: template.spec } : {}),
  };
}

function planCleanup({ spec }: CronJob, jobs: readonly Job[]): Action[] {
  const limits = [
    { type: 'Complete', limit: spec?.successfulJobsHistoryLimit ?? 3 },
    { type: 'Failed', limit: spec?.failedJobsHistoryLimit ?? 1 },
  ];
  return limits.flatMap(({ type, limit }) => {
    const ended = jobs.filter((job) => hasCondition(job, type) && !job.metadata?.deletionTimestamp);
    return ended
      .slice(0, Math.max(0, ended.length - limit))
      .map((job) => remove(JOBS, job, { propagationPolicy: 'Background' }));
  });
}

function isFinished(job: Job): boolean {
  return hasCondition(job, 'Complete') || hasCondition(job, 'Failed');
}

function hasCondition({ status }: Job, type: string): boolean {
  return (status?.conditions ?? []).some(
    (condition) => condition.type === type && condition.status === 'True',
  );
}

function refOf({ metadata }: Job) {
  const { name = '', namespace = '', uid = '' } = metadata ?? {};
  return { apiVersion: 'batch/v1', kind: 'Job', name, namespace, uid };
}

function normalize(status: CronJob['status']): unknown {
  return { ...status, active: (status?.active ?? []).map(({ uid }) => uid) };
}
