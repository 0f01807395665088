import type * as core from 'kubernetes-types/core/v1.d.ts';
import type * as policy from 'kubernetes-types/policy/v1.d.ts';
import { type KubeObject, POD_DISRUPTION_BUDGETS } from '../../api/kinds.ts';
import { matchesLabelSelector } from '../../api/label-selectors.ts';
import { formatTime } from '../../api/time.ts';
import { sendJson } from './answers.ts';
import { type Call, isDryRun } from './call.ts';
import { type DeleteOptions, deleteObject } from './delete-handlers.ts';
import { podsRow } from './pods-row.ts';
import { StatusError } from './status-error.ts';
import { notFound } from './status-errors.ts';
import type { AnyObject } from './strategies.ts';
import { readObject, targetOf, type WriteDependencies } from './write-handlers.ts';

/** POST of an Eviction: deletes the pod when its budgets allow it. @throws StatusError 429 */
export async function evictPod(options: WriteDependencies, call: Call): Promise<void> {
  const row = { group: 'policy', version: 'v1', kind: 'Eviction' };
  const eviction = (await readObject(options.codec, call, row)) as KubeObject & {
    deleteOptions?: DeleteOptions;
  };
  const { name, namespace } = call.info;
  const pods = podsRow(options);
  const current = options.registry.find({ row: pods, namespace, name });
  if (!current) throw notFound(pods, name);
  const pod = current.object as core.Pod;
  const phase = pod.status?.phase;
  const dryRun = isDryRun(call.info.query, eviction.deleteOptions?.dryRun ?? []);
  const isFree =
    phase === 'Succeeded' || phase === 'Failed' || phase === 'Pending' || pod.metadata?.deletionTimestamp;
  if (!isFree) await spendDisruption(options, call, pod, dryRun);
  await deleteObject(options.registry, call, eviction.deleteOptions ?? {});
  sendJson(call.response, 201, {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    code: 201,
  });
}

async function spendDisruption(
  options: WriteDependencies,
  call: Call,
  pod: core.Pod,
  dryRun: boolean,
): Promise<void> {
  const { registry } = options;
  const budgets = registry.state
    .list(POD_DISRUPTION_BUDGETS, call.info.namespace)
    .filter((budget) => matchesLabelSelector(budget.spec?.selector, pod.metadata?.labels));
  if (budgets.length > 1) {
    throw new StatusError(500, {
      reason: 'InternalError',
      message:
        'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
    });
  }
  const name = budgets[0]?.metadata?.name;
  if (name === undefined) return;
  const base = targetOf(call, { namespace: call.info.namespace, name });
  const target = {
    ...base,
    row: POD_DISRUPTION_BUDGETS,
    subresource: 'status',
    isDryRun: base.isDryRun || dryRun,
  };
  const podName = pod.metadata?.name ?? '';
  await registry.update(target, { isConditional: false, change: (budget) => spent(budget, podName) });
}

function spent(budget: AnyObject, podName: string): AnyObject {
  const status = (budget.status ?? {}) as Partial<policy.PodDisruptionBudgetStatus>;
  const { name } = budget.metadata ?? {};
  const isStale = (status.observedGeneration ?? 0) < (budget.metadata?.generation ?? 0);
  if (isStale) throw tooMany(`The disruption budget ${name} is still being processed by the server.`, 10);
  const allowed = status.disruptionsAllowed ?? 0;
  if (allowed <= 0) {
    const { desiredHealthy = 0, currentHealthy = 0 } = status;
    throw tooMany(
      `The disruption budget ${name} needs ${desiredHealthy} healthy pods and has ${currentHealthy} currently`,
    );
  }
  return {
    ...budget,
    status: {
      ...status,
      disruptionsAllowed: allowed - 1,
      disruptedPods: { ...status.disruptedPods, [podName]: formatTime(new Date()) },
    },
  };
}

function tooMany(cause: string, retryAfterSeconds?: number): StatusError {
  return new StatusError(429, {
    reason: 'TooManyRequests',
    message: "Cannot evict pod as it would violate the pod's disruption budget.",
    details: {
      causes: [{ reason: 'DisruptionBudget', message: cause }],
      ...(retryAfterSeconds ? { retryAfterSeconds } : {}),
    },
    ...(retryAfterSeconds ? { headers: { 'Retry-After': String(retryAfterSeconds) } } : {}),
  });
}
