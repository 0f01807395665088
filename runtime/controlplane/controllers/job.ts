import type { Job, JobCondition, JobStatus } from 'kubernetes-types/batch/v1.d.ts';
import { JOBS, PODS } from '../../api/kinds.ts';
import { isEmptySelector } from '../../api/label-selectors.ts';
import { formatTime } from '../../api/time.ts';
import { type Action, event, parallel, updateStatus } from '../component/action.ts';
import { isPodReady, isSameJson } from '../component/objects.ts';
import { claimObjects } from './adoption.ts';
import {
  type Controller,
  earliest,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watchOwned,
  watchSelf,
} from './controller.ts';
import { deadlineMs, decideEnd, hasCondition, type JobEnd } from './job-end.ts';
import { formatIndexes } from './job-index.ts';
import { planPods } from './job-pods.ts';
import { type JobTally, tallyPods } from './job-tally.ts';
import { releaseOrphans, releasePod } from './job-tracking.ts';

/** Fields of a Job that this controller does not act on. */
const UNSUPPORTED_FIELDS = ['podFailurePolicy', 'successPolicy', 'backoffLimitPerIndex'] as const;

/** Runs the pods of Jobs to completion. */
export function createJobController(): Controller {
  return {
    name: 'job-controller',
    watches: [watchSelf(JOBS), watchOwned(PODS, 'Job')],
    reconcile: reconcileJob,
  };
}

/**
 * The Job with the selector and labels that its API server should have made (`generateSelector`): without
 * them no pod would ever count.
 */
function withSelector(job: Job): Job {
  const { uid = '', name = '' } = job.metadata ?? {};
  const { spec } = job;
  if (!spec || (spec.selector && !isEmptySelector(spec.selector))) return job;
  const selector = { matchLabels: { 'batch.kubernetes.io/controller-uid': uid } };
  const labels = {
    ...spec.template.metadata?.labels,
    ...selector.matchLabels,
    'batch.kubernetes.io/job-name': name,
    'controller-uid': uid,
    'job-name': name,
  };
  const template = { ...spec.template, metadata: { ...spec.template.metadata, labels } };
  return { ...job, spec: { ...spec, selector, template } };
}

function reconcileJob(key: string, { view, now }: ReconcileContext): ReconcileResult {
  const stored = view.get(JOBS, key);
  if (!stored?.spec) return { actions: parallel(releaseOrphans(key, view)) };
  const job = withSelector(stored);
  const managedBy = (stored.spec as { managedBy?: string }).managedBy;
  if (managedBy && managedBy !== 'kubernetes.io/job-controller') return SETTLED;
  const claim = claimObjects(view, { ownerKind: JOBS, owner: job, kind: PODS, selector: job.spec?.selector });
  if (hasCondition(job, 'Complete') || hasCondition(job, 'Failed') || job.metadata?.deletionTimestamp) {
    return { actions: parallel(claim.owned.flatMap(releasePod)) };
  }
  const refused = UNSUPPORTED_FIELDS.find((field) => field in stored.spec!);
  if (refused) {
    const message = `spec.${refused} is not supported by this controller manager`;
    return { actions: [event(JOBS, job, 'Warning', 'Unsupported', message)] };
  }
  const tally = tallyPods(job, claim.owned, now);
  const { conditions, end } = decideEnd(tally);
  const plan = planPods(tally, end !== undefined);
  const status = buildStatus(tally, conditions, end);
  const isSame = isSameJson(status, job.status);
  const counted = new Set([...tally.uncounted.succeeded, ...tally.uncounted.failed]);
  const releases = claim.owned.filter((pod) => counted.has(pod.metadata?.uid ?? '')).flatMap(releasePod);
  return {
    actions: [
      ...claim.actions,
      // The tally is written before the pods may go.
      ...(isSame ? [] : [updateStatus(JOBS, { ...stored, status })]),
      ...parallel(releases),
      ...plan.actions,
      ...announceEnd(tally, end),
    ],
    requeueAfterMs: earliest([plan.waitMs, deadlineMs(job, now)]),
  };
}

function buildStatus(tally: JobTally, conditions: JobCondition[], end: JobEnd | undefined): JobStatus {
  const { job, now, active, uncounted, counted, terminating } = tally;
  const isSuspended = job.spec?.suspend === true;
  const startTime = job.status?.startTime ?? (isSuspended ? undefined : formatTime(now));
  const isOver = conditions.some(({ type, status }) => type === 'Complete' && status === 'True');
  const shown = end || isSuspended ? [] : active;
  return {
    conditions,
    ...(startTime && !(isSuspended && active.length === 0) ? { startTime } : {}),
    ...(isOver ? { completionTime: formatTime(now) } : {}),
    ...(shown.length > 0 ? { active: shown.length } : {}),
    ...(counted.succeeded > 0 ? { succeeded: counted.succeeded } : {}),
    ...(counted.failed > 0 ? { failed: counted.failed } : {}),
    ready: shown.filter(isPodReady).length,
    terminating,
    ...(job.spec?.completionMode === 'Indexed' ? { completedIndexes: formatIndexes(tally.indexes) } : {}),
    uncountedTerminatedPods: {
      ...(uncounted.succeeded.length > 0 ? { succeeded: [...uncounted.succeeded] } : {}),
      ...(uncounted.failed.length > 0 ? { failed: [...uncounted.failed] } : {}),
    },
  };
}

function announceEnd({ job }: JobTally, end: JobEnd | undefined): Action[] {
  if (!end || hasCondition(job, 'SuccessCriteriaMet') || hasCondition(job, 'FailureTarget')) return [];
  return end.type === 'Complete'
    ? [event(JOBS, job, 'Normal', 'Completed', 'Job completed')]
    : [event(JOBS, job, 'Warning', end.reason, end.message)];
}
