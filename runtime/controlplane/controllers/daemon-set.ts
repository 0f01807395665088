import type { DaemonSetStatus } from 'kubernetes-types/apps/v1.d.ts';
import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import { DAEMON_SETS, NODES, PODS } from '../../api/kinds.ts';
import { matchesLabelSelector } from '../../api/label-selectors.ts';
import { type Action, parallel, updateStatus } from '../component/action.ts';
import { controllerOf, isPodAvailable, isPodReady, isPodTerminal, isSameJson } from '../component/objects.ts';
import {
  type Controller,
  earliest,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watch,
} from './controller.ts';
import { type DaemonState, observeNodes } from './daemon-nodes.ts';
import { createDaemonPod, deleteDaemonPod, isUpdated } from './daemon-pods.ts';
import { needsSurge, planRollout, superfluous } from './daemon-rollout.ts';
import { nextAvailabilityMs } from './replica-set.ts';
import { planHistoryCleanup, REVISION_HASH_LABEL } from './revision-history.ts';
import { observeSet, watchRevisioned } from './revisioned-set.ts';

/** First wait before a failed pod is replaced; doubled with each further failure on the node. */
const FAILED_POD_BACKOFF_MS = 1_000;
const FAILED_POD_BACKOFF_MAX_MS = 15 * 60_000;

/** Keeps one pod of each DaemonSet on every node that it fits. */
export function createDaemonSetController(): Controller {
  const failures = new Map<string, { count: number; untilMs: number }>();
  return {
    name: 'daemonset-controller',
    watches: [
      ...watchRevisioned(DAEMON_SETS),
      watch(PODS, ({ object }, view) => {
        if (controllerOf(object)) return [];
        const { namespace = '', labels } = object.metadata ?? {};
        return view
          .inNamespace(DAEMON_SETS, namespace)
          .filter((set) => matchesLabelSelector(set.spec?.selector, labels))
          .map((set) => `${namespace}/${set.metadata?.name}`);
      }),
      watch(NODES, ({ object, previous, type }, view) => {
        const facts = (node: Node | undefined) => [
          node?.metadata?.labels,
          node?.spec?.taints,
          node?.spec?.unschedulable,
        ];
        if (type === 'MODIFIED' && isSameJson(facts(object), facts(previous))) return [];
        return view.list(DAEMON_SETS).map(({ metadata }) => `${metadata?.namespace}/${metadata?.name}`);
      }),
    ],
    reconcile: (key, context) => reconcileDaemonSet(key, context, failures),
  };
}

type Failures = Map<string, { count: number; untilMs: number }>;

function reconcileDaemonSet(
  key: string,
  { view, now }: ReconcileContext,
  failures: Failures,
): ReconcileResult {
  const observed = observeSet(view, DAEMON_SETS, { key });
  if (!observed) return SETTLED;
  const { set, pods, history, claims } = observed;
  if (!history) return { actions: claims };
  const state = observeNodes(set, history.hash, pods, view, now);
  const { actions, retryMs } = planPods(state, failures);
  const rollout = actions.length > 0 ? [] : planRollout(state);
  const status = buildStatus(state);
  const used = new Set(pods.map((pod) => pod.metadata?.labels?.[REVISION_HASH_LABEL] ?? ''));
  const waits = [retryMs, nextAvailabilityMs(pods, set.spec?.minReadySeconds ?? 0, now)];
  return {
    actions: [
      ...claims,
      ...history.actions,
      ...parallel([...actions, ...rollout]),
      ...(isSameJson(status, set.status) ? [] : [updateStatus(DAEMON_SETS, { ...set, status })]),
      ...planHistoryCleanup(set, history, used),
    ],
    requeueAfterMs: earliest(waits),
  };
}

function planPods(
  state: DaemonState,
  failures: Failures,
): { actions: Action[]; retryMs: number | undefined } {
  const actions: Action[] = [];
  const waits: number[] = [];
  const wantedNames = new Set(state.wanted.map((node) => node.metadata?.name ?? ''));
  for (const name of wantedNames) {
    const pods = state.podsByNode.get(name) ?? [];
    const failed = pods.filter((pod) => isPodTerminal(pod) && !pod.metadata?.deletionTimestamp);
    for (const pod of failed) {
      const waitMs = failureWaitMs(state, failures, name);
      if (waitMs > 0) waits.push(waitMs);
      else actions.push(deleteDaemonPod(state, pod, 'FailedDaemonPod', failedMessage(pod, name)));
    }
    const alive = pods.filter((pod) => !isPodTerminal(pod));
    const staying = alive.filter((pod) => !pod.metadata?.deletionTimestamp);
    if (pods.length === 0 || needsSurge(state, name, pods)) actions.push(createDaemonPod(state, name));
    for (const pod of superfluous(state, staying)) actions.push(deleteDaemonPod(state, pod));
  }
  for (const [name, pods] of state.podsByNode) {
    if (wantedNames.has(name) || (state.tolerated.has(name) && pods.every((pod) => pod.spec?.nodeName)))
      continue;
    for (const pod of pods) if (!pod.metadata?.deletionTimestamp) actions.push(deleteDaemonPod(state, pod));
  }
  return { actions, retryMs: waits.length > 0 ? Math.min(...waits) : undefined };
}

function failedMessage(pod: Pod, node: string): string {
  const { namespace, name } = pod.metadata ?? {};
  return `Found failed daemon pod ${namespace}/${name} on node ${node}, will try to kill it`;
}

function failureWaitMs({ set, now }: DaemonState, failures: Failures, node: string): number {
  const key = `${set.metadata?.uid}/${node}`;
  const known = failures.get(key);
  const nowMs = now.getTime();
  if (known && known.untilMs > nowMs) return known.untilMs - nowMs;
  const count = (known?.count ?? 0) + 1;
  const backoffMs = Math.min(FAILED_POD_BACKOFF_MS * 2 ** (count - 1), FAILED_POD_BACKOFF_MAX_MS);
  failures.set(key, { count, untilMs: nowMs + backoffMs });
  return 0;
}

function buildStatus(state: DaemonState): DaemonSetStatus {
  const { set, wanted, podsByNode, now } = state;
  const minReadySeconds = set.spec?.minReadySeconds ?? 0;
  const wantedNames = new Set(wanted.map((node) => node.metadata?.name ?? ''));
  const counts = { current: 0, ready: 0, available: 0, updated: 0 };
  for (const name of wantedNames) {
    const pods = (podsByNode.get(name) ?? []).filter((pod) => !pod.metadata?.deletionTimestamp);
    if (pods.length === 0) continue;
    counts.current += 1;
    if (pods.some(isPodReady)) counts.ready += 1;
    if (pods.some((pod) => isPodAvailable(pod, minReadySeconds, now))) counts.available += 1;
    if (pods.some((pod) => isUpdated(state, pod))) counts.updated += 1;
  }
  const unavailable = wanted.length - counts.available;
  const { collisionCount } = set.status ?? {};
  return {
    currentNumberScheduled: counts.current,
    numberMisscheduled: [...podsByNode.keys()].filter((name) => !wantedNames.has(name)).length,
    desiredNumberScheduled: wanted.length,
    numberReady: counts.ready,
    observedGeneration: set.metadata?.generation ?? 0,
    ...(counts.updated > 0 ? { updatedNumberScheduled: counts.updated } : {}),
    ...(counts.available > 0 ? { numberAvailable: counts.available } : {}),
    ...(unavailable > 0 ? { numberUnavailable: unavailable } : {}),
    ...(collisionCount ? { collisionCount } : {}),
  };
}
