import type { Job } from 'kubernetes-types/batch/v1.d.ts';
import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { isPodActive, isPodTerminal } from '../component/objects.ts';
import { indexOf, parseIndexes } from './job-index.ts';
import { isTracked } from './job-tracking.ts';

/** What a Job's pods amount to. */
export interface JobTally {
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

/** Counts the pods of a Job on top of what its status has counted. */
export function tallyPods(job: Job, pods: readonly Pod[], now: Date): JobTally {
  const { status } = job;
  const held = new Set(pods.filter(isTracked).map(uidOf));
  const before = status?.uncountedTerminatedPods;
  const settle = (uids: readonly string[] = []) => ({
    held: uids.filter((uid) => held.has(uid)),
    done: uids.filter((uid) => !held.has(uid)).length,
  });
  const succeededBefore = settle(before?.succeeded);
  const failedBefore = settle(before?.failed);
  const known = new Set([...succeededBefore.held, ...failedBefore.held]);
  const indexes = parseIndexes(status?.completedIndexes);
  const uncounted = { succeeded: [...succeededBefore.held], failed: [...failedBefore.held] };
  for (const pod of pods) {
    const uid = uidOf(pod);
    if (!held.has(uid) || known.has(uid)) continue;
    const outcome = outcomeOf(pod, job, indexes);
    if (outcome) uncounted[outcome].push(uid);
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

/** What an ended pod counts as; the index of a success is added to `indexes`, and counts once. */
function outcomeOf(pod: Pod, job: Job, indexes: Set<number>): 'succeeded' | 'failed' | undefined {
  if (pod.status?.phase !== 'Succeeded') {
    return pod.status?.phase === 'Failed' || isLost(pod, job) ? 'failed' : undefined;
  }
  if (job.spec?.completionMode !== 'Indexed') return 'succeeded';
  const index = indexOf(pod);
  if (index === undefined || index >= (job.spec.completions ?? 0) || indexes.has(index)) return 'failed';
  indexes.add(index);
  return 'succeeded';
}

function uidOf({ metadata }: Pod): string {
  return metadata?.uid ?? '';
}

/** Deleted by others before it ended; counts as failed unless the policy waits for its end. */
function isLost(pod: Pod, job: Job): boolean {
  const policy = (job.spec as { podReplacementPolicy?: string } | undefined)?.podReplacementPolicy;
  return pod.metadata?.deletionTimestamp !== undefined && policy !== 'Failed' && !job.spec?.suspend;
}

/** Successes that count as completions: of an Indexed Job each index once. */
export function completionCount({ job, succeeded, indexes }: JobTally): number {
  return job.spec?.completionMode === 'Indexed' ? indexes.size : succeeded;
}
