import type { Job, JobCondition, JobStatus } from 'kubernetes-types/batch/v1.d.ts';
import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { JOBS, PODS } from '../../api/kinds.ts';
import { isEmptySelector } from '../../api/label-selectors.ts';
import { formatTime } from '../../api/time.ts';
import {
  type Action,
  create,
  event,
  mergePatch,
  parallel,
  remove,
  updateStatus,
} from '../component/action.ts';
import {
  buildControllerReference,
  controllerOf,
  isPodActive,
  isPodReady,
  isPodTerminal,
  isSameJson,
  splitKey,
  timeMs,
} from '../component/objects.ts';
import type { View } from '../component/view.ts';
import { claimObjects } from './adoption.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watchOwned,
  watchSelf,
} from './controller.ts';
import { formatIndexes, indexOf, parseIndexes, withIndex } from './job-index.ts';
import { buildPodFromTemplate } from './pod-template.ts';

const TRACKING_FINALIZER = 'batch.kubernetes.io/job-tracking';
const BACKOFF_FIRST_MS = 10_000;
const BACKOFF_MAX_MS = 600_000;
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

/** The pods of a Job that is gone: nobody counts them any more. */
function releaseOrphans(key: string, view: View): Action[] {
  const { namespace, name } = splitKey(key);
  return view
    .inNamespace(PODS, namespace)
    .filter((pod) => controllerOf(pod)?.kind === 'Job' && controllerOf(pod)?.name === name)
    .flatMap(dropFinalizer);
}

/** What a Job's pods amount to. */
interface State {
  readonly job: Job;
  readonly now: Date;
  readonly pods: readonly Pod[];
  readonly active: readonly Pod[];
  readonly terminating: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly indexes: ReadonlySet<number>;
  readonly uncounted: { readonly succeeded: readonly string[]; readonly failed: readonly string[] };
  readonly counted: { readonly succeeded: number; readonly failed: number };
}

function reconcileJob(key: string, { view, now }: ReconcileContext): ReconcileResult {
  const stored = view.get(JOBS, key);
  if (!stored?.spec) return { actions: parallel(releaseOrphans(key, view)) };
  const job = withSelector(stored);
  const managedBy = (stored.spec as { managedBy?: string }).managedBy;
  if (managedBy && managedBy !== 'kubernetes.io/job-controller') return SETTLED;
  const claim = claimObjects(view, { ownerKind: JOBS, owner: job, kind: PODS, selector: job.spec?.selector });
  if (hasCondition(job, 'Complete') || hasCondition(job, 'Failed') || job.metadata?.deletionTimestamp) {
    return { actions: parallel(claim.owned.flatMap(dropFinalizer)) };
  }
  const refused = UNSUPPORTED_FIELDS.find((field) => field in stored.spec!);
  if (refused) {
    const message = `spec.${refused} is not supported by this controller manager`;
    return { actions: [event(JOBS, job, 'Warning', 'Unsupported', message)] };
  }
  const state = observe(job, claim.owned, now);
  const { conditions, end } = decide(state);
  const plan = planPods(state, end !== undefined);
  const status = buildStatus(state, conditions, end);
  const isSame = isSameJson(status, job.status);
  const counted = new Set([...state.uncounted.succeeded, ...state.uncounted.failed]);
  const releases = claim.owned.filter((pod) => counted.has(pod.metadata?.uid ?? '')).flatMap(dropFinalizer);
  return {
    actions: [
      ...claim.actions,
      // The tally is written before the pods may go.
      ...(isSame ? [] : [updateStatus(JOBS, { ...stored, status })]),
      ...parallel(releases),
      ...plan.actions,
      ...announceEnd(state, end),
    ],
    requeueAfterMs: earliest([plan.waitMs, deadlineMs(job, now)]),
  };
}

function earliest(waits: readonly (number | undefined)[]): number | undefined {
  const known = waits.filter((wait) => wait !== undefined);
  return known.length > 0 ? Math.max(1, Math.min(...known)) : undefined;
}

function observe(job: Job, pods: readonly Pod[], now: Date): State {
  const { status } = job;
  const byUid = new Map(pods.map((pod) => [pod.metadata?.uid ?? '', pod]));
  const isHeld = (uid: string) => byUid.get(uid)?.metadata?.finalizers?.includes(TRACKING_FINALIZER) ?? false;
  const before = status?.uncountedTerminatedPods;
  const settle = (uids: readonly string[] | undefined) => ({
    held: (uids ?? []).filter(isHeld),
    done: (uids ?? []).filter((uid) => !isHeld(uid)).length,
  });
  const succeededBefore = settle(before?.succeeded);
  const failedBefore = settle(before?.failed);
  const known = new Set([...succeededBefore.held, ...failedBefore.held]);
  const fresh = pods.filter((pod) => isHeld(pod.metadata?.uid ?? '') && !known.has(pod.metadata?.uid ?? ''));
  const indexes = parseIndexes(status?.completedIndexes);
  const uncounted = { succeeded: [...succeededBefore.held], failed: [...failedBefore.held] };
  for (const pod of fresh) {
    const { uid = '' } = pod.metadata ?? {};
    if (pod.status?.phase === 'Succeeded') {
      const index = indexOf(pod);
      if (job.spec?.completionMode !== 'Indexed') uncounted.succeeded.push(uid);
      else if (index !== undefined && index < (job.spec.completions ?? 0) && !indexes.has(index)) {
        indexes.add(index);
        uncounted.succeeded.push(uid);
      } else uncounted.failed.push(uid);
    } else if (pod.status?.phase === 'Failed' || isLost(pod, job)) uncounted.failed.push(uid);
  }
  const counted = {
    succeeded: (status?.succeeded ?? 0) + succeededBefore.done,
    failed: (status?.failed ?? 0) + failedBefore.done,
  };
  return {
    job,
    now,
    pods,
    active: pods.filter(isPodActive),
    terminating: pods.filter((pod) => pod.metadata?.deletionTimestamp && !isPodTerminal(pod)).length,
    succeeded: counted.succeeded + uncounted.succeeded.length,
    failed: counted.failed + uncounted.failed.length,
    indexes,
    uncounted,
    counted,
  };
}

/** Deleted by others before it ended; counts as failed unless the policy waits for its end. */
function isLost(pod: Pod, job: Job): boolean {
  const policy = (job.spec as { podReplacementPolicy?: string } | undefined)?.podReplacementPolicy;
  return pod.metadata?.deletionTimestamp !== undefined && policy !== 'Failed' && !job.spec?.suspend;
}

interface End {
  readonly type: 'Complete' | 'Failed';
  readonly reason: string;
  readonly message: string;
}

/** Whether the Job is at its end; the final condition waits until no pod is left. */
function decide(state: State): { readonly conditions: JobCondition[]; readonly end: End | undefined } {
  const { job, now } = state;
  let conditions = syncSuspended(job, now);
  const end = findEnd(state);
  if (!end) return { conditions, end };
  const interim = end.type === 'Complete' ? 'SuccessCriteriaMet' : 'FailureTarget';
  conditions = withJobCondition(conditions, { ...end, type: interim }, now);
  const isOver =
    state.active.length === 0 &&
    state.terminating === 0 &&
    state.uncounted.failed.length + state.uncounted.succeeded.length === 0;
  if (isOver) conditions = withJobCondition(conditions, end, now);
  return { conditions, end };
}

function findEnd(state: State): End | undefined {
  const { job, succeeded, failed, active, now, pods } = state;
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
    completions === undefined ? succeeded > 0 && active.length === 0 : completionCount(state) >= completions;
  const message = 'Reached expected number of succeeded pods';
  return isComplete ? { type: 'Complete', reason: 'CompletionsReached', message } : undefined;
}

function completionCount({ job, succeeded, indexes }: State): number {
  return job.spec?.completionMode === 'Indexed' ? indexes.size : succeeded;
}

function sumRestarts(pods: readonly Pod[]): number {
  return pods
    .filter((pod) => pod.status?.phase === 'Running' || pod.status?.phase === 'Pending')
    .flatMap(({ status }) => [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])])
    .reduce((total, { restartCount }) => total + restartCount, 0);
}

function planPods(state: State, isEnding: boolean): { readonly actions: Action[]; readonly waitMs?: number } {
  const { job, active, succeeded } = state;
  const { parallelism = 1, completions, suspend } = job.spec!;
  if (isEnding || suspend) return { actions: parallel(active.map((pod) => remove(PODS, pod))) };
  const left = completions === undefined ? parallelism : completions - completionCount(state);
  // A work queue that has had a success winds down: no new pods.
  const wanted =
    completions === undefined && succeeded > 0
      ? Math.min(active.length, parallelism)
      : Math.min(parallelism, Math.max(0, left));
  const surplus = active.length - wanted;
  if (surplus > 0) {
    const victims = [...active]
      .sort((a, b) => Number(isPodReady(a)) - Number(isPodReady(b)))
      .slice(0, surplus);
    return { actions: parallel(victims.map((pod) => remove(PODS, pod))) };
  }
  const waitMs = backoffMs(state);
  if (surplus === 0) return { actions: [] };
  if (waitMs > 0) return { actions: [], waitMs };
  const waitsForEnd = (job.spec as { podReplacementPolicy?: string }).podReplacementPolicy === 'Failed';
  const missing = Math.max(0, -surplus - (waitsForEnd ? state.terminating : 0));
  return { actions: parallel(createPods(state, missing), { slowStart: true }) };
}

/** Time left of the pause after failures: 10 s, doubled with each, at most ten minutes. */
function backoffMs({ pods, failed, now }: State): number {
  const ends = pods
    .filter((pod) => pod.status?.phase === 'Failed')
    .map((pod) =>
      Math.max(
        timeMs(pod.metadata?.creationTimestamp),
        ...(pod.status?.containerStatuses ?? []).map(({ state }) => timeMs(state?.terminated?.finishedAt)),
      ),
    );
  if (ends.length === 0 || failed === 0) return 0;
  const delayMs = Math.min(BACKOFF_FIRST_MS * 2 ** (failed - 1), BACKOFF_MAX_MS);
  return Math.max(0, Math.max(...ends) + delayMs - now.getTime());
}

function createPods(state: State, count: number): Action[] {
  const { job, active, indexes } = state;
  const announce = { kind: JOBS, owner: job };
  const base = buildPodFromTemplate(job.spec?.template, job, buildControllerReference(JOBS, job));
  const finalizers = [...(base.metadata?.finalizers ?? []), TRACKING_FINALIZER];
  const pod: Pod = { ...base, metadata: { ...base.metadata, finalizers } };
  if (job.spec?.completionMode !== 'Indexed') {
    return Array.from({ length: count }, () => create(PODS, pod, { announce }));
  }
  const taken = new Set([...indexes, ...active.map(indexOf)]);
  const free = Array.from({ length: job.spec.completions ?? 0 }, (_, index) => index).filter(
    (index) => !taken.has(index),
  );
  return free.slice(0, count).map((index) => create(PODS, withIndex(pod, job, index), { announce }));
}

function buildStatus(state: State, conditions: JobCondition[], end: End | undefined): JobStatus {
  const { job, now, active, uncounted, counted, terminating } = state;
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
    ...(job.spec?.completionMode === 'Indexed' ? { completedIndexes: formatIndexes(state.indexes) } : {}),
    uncountedTerminatedPods: {
      ...(uncounted.succeeded.length > 0 ? { succeeded: [...uncounted.succeeded] } : {}),
      ...(uncounted.failed.length > 0 ? { failed: [...uncounted.failed] } : {}),
    },
  };
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

function announceEnd({ job }: State, end: End | undefined): Action[] {
  if (!end || hasCondition(job, 'SuccessCriteriaMet') || hasCondition(job, 'FailureTarget')) return [];
  return end.type === 'Complete'
    ? [event(JOBS, job, 'Normal', 'Completed', 'Job completed')]
    : [event(JOBS, job, 'Warning', end.reason, end.message)];
}

function deadlineMs({ spec, status }: Job, now: Date): number | undefined {
  if (spec?.activeDeadlineSeconds === undefined || !status?.startTime || spec.suspend) return undefined;
  const leftMs = timeMs(status.startTime) + spec.activeDeadlineSeconds * 1000 - now.getTime();
  return leftMs > 0 ? leftMs : undefined;
}

function dropFinalizer(pod: Pod): Action[] {
  const { finalizers = [], uid } = pod.metadata ?? {};
  if (!finalizers.includes(TRACKING_FINALIZER)) return [];
  const left = finalizers.filter((name) => name !== TRACKING_FINALIZER);
  return [mergePatch(PODS, pod, { metadata: { uid, finalizers: left } })];
}

function hasCondition({ status }: Job, type: string): boolean {
  return (status?.conditions ?? []).some(
    (condition) => condition.type === type && condition.status === 'True',
  );
}
