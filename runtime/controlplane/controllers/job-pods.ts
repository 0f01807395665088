import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { JOBS, PODS } from '../../api/kinds.ts';
import { type Action, create, parallel, remove } from '../component/action.ts';
import { buildControllerReference, isPodReady, timeMs } from '../component/objects.ts';
import { indexOf, withIndex } from './job-index.ts';
import { completionCount, type JobTally } from './job-tally.ts';
import { TRACKING_FINALIZER } from './job-tracking.ts';
import { buildPodFromTemplate } from './pod-template.ts';

const BACKOFF_FIRST_MS = 10_000;
const BACKOFF_MAX_MS = 600_000;

/** Pods to create or delete now; `waitMs` until the next try when the last ones have failed. */
export function planPods(
  tally: JobTally,
  isEnding: boolean,
): { readonly actions: Action[]; readonly waitMs?: number } {
  const { job, active, succeeded } = tally;
  const { parallelism = 1, completions, suspend } = job.spec!;
  if (isEnding || suspend) return { actions: parallel(active.map((pod) => remove(PODS, pod))) };
  const left = completions === undefined ? parallelism : completions - completionCount(tally);
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
  const waitMs = backoffMs(tally);
  if (surplus === 0) return { actions: [] };
  if (waitMs > 0) return { actions: [], waitMs };
  const waitsForEnd = (job.spec as { podReplacementPolicy?: string }).podReplacementPolicy === 'Failed';
  const missing = Math.max(0, -surplus - (waitsForEnd ? tally.terminating : 0));
  return { actions: parallel(createPods(tally, missing), { slowStart: true }) };
}

/** Time left of the pause after failures: 10 s, doubled with each, at most ten minutes. */
function backoffMs({ pods, failed, now }: JobTally): number {
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

function createPods(tally: JobTally, count: number): Action[] {
  const { job, active, indexes } = tally;
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
