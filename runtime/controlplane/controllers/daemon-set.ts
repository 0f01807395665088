import type { DaemonSet, DaemonSetStatus } from 'kubernetes-types/apps/v1.d.ts';
import type { Node, Pod, PodSpec, Toleration } from 'kubernetes-types/core/v1.d.ts';
import { DAEMON_SETS, NODES, PODS } from '../../api/kinds.ts';
import { matchesLabelSelector } from '../../api/label-selectors.ts';
import { type Action, create, event, parallel, remove, updateStatus } from '../component/action.ts';
import { findUntoleratedTaint, matchesNodeAffinity } from '../component/node-fit.ts';
import {
  buildControllerReference,
  byAge,
  controllerOf,
  isPodAvailable,
  isPodReady,
  isPodTerminal,
  isSameJson,
  resolveIntOrPercent,
} from '../component/objects.ts';
import type { View } from '../component/view.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watch,
} from './controller.ts';
import { buildPodFromTemplate } from './pod-template.ts';
import { nextAvailabilityMs } from './replica-set.ts';
import { planHistoryCleanup, REVISION_HASH_LABEL } from './revision-history.ts';
import { observeSet, watchRevisioned } from './revisioned-set.ts';

/** What every daemon pod tolerates: it is there to make its node work. */
const DAEMON_TOLERATIONS: readonly Toleration[] = [
  { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/disk-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/pid-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/unschedulable', operator: 'Exists', effect: 'NoSchedule' },
];
const HOST_NETWORK_TOLERATION: Toleration = {
  key: 'node.kubernetes.io/network-unavailable',
  operator: 'Exists',
  effect: 'NoSchedule',
};
const GENERATION_LABEL = 'pod-template-generation';
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

interface State {
  readonly set: DaemonSet;
  readonly hash: string;
  readonly now: Date;
  readonly podsByNode: ReadonlyMap<string, readonly Pod[]>;
  /** Nodes that should have a pod, and those that may keep theirs. */
  readonly wanted: readonly Node[];
  readonly tolerated: ReadonlySet<string>;
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
  const state = observe(set, history.hash, pods, view, now);
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

function earliest(waits: readonly (number | undefined)[]): number | undefined {
  const known = waits.filter((wait) => wait !== undefined);
  return known.length > 0 ? Math.min(...known) : undefined;
}

function observe(set: DaemonSet, hash: string, pods: readonly Pod[], view: View, now: Date): State {
  const podsByNode = new Map<string, Pod[]>();
  for (const pod of [...pods].sort(byAge)) {
    const node = targetNodeOf(pod);
    if (node === undefined) continue;
    const list = podsByNode.get(node);
    if (list) list.push(pod);
    else podsByNode.set(node, [pod]);
  }
  const spec = buildSpec(set, undefined);
  const wanted: Node[] = [];
  const tolerated = new Set<string>();
  for (const node of view.list(NODES)) {
    if (!matchesNodeAffinity(set.spec?.template.spec, node)) continue;
    if (spec.nodeName && spec.nodeName !== node.metadata?.name) continue;
    if (findUntoleratedTaint(node.spec?.taints, spec.tolerations, ['NoExecute'])) continue;
    tolerated.add(node.metadata?.name ?? '');
    if (!findUntoleratedTaint(node.spec?.taints, spec.tolerations, ['NoSchedule'])) wanted.push(node);
  }
  return { set, hash, now, podsByNode, wanted, tolerated };
}

/** The node that the pod is bound to or made for. */
function targetNodeOf({ spec }: Pod): string | undefined {
  if (spec?.nodeName) return spec.nodeName;
  const required = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  for (const term of required?.nodeSelectorTerms ?? []) {
    const field = term.matchFields?.find(({ key }) => key === 'metadata.name');
    if (field?.values?.length === 1) return field.values[0];
  }
  return undefined;
}

function planPods(state: State, failures: Failures): { actions: Action[]; retryMs: number | undefined } {
  const actions: Action[] = [];
  const waits: number[] = [];
  const wantedNames = new Set(state.wanted.map((node) => node.metadata?.name ?? ''));
  for (const name of wantedNames) {
    const pods = state.podsByNode.get(name) ?? [];
    const failed = pods.filter((pod) => isPodTerminal(pod) && !pod.metadata?.deletionTimestamp);
    for (const pod of failed) {
      const waitMs = failureWaitMs(state, failures, name);
      if (waitMs > 0) waits.push(waitMs);
      else actions.push(deletePod(state, pod, 'FailedDaemonPod', failedMessage(pod, name)));
    }
    const alive = pods.filter((pod) => !isPodTerminal(pod));
    const staying = alive.filter((pod) => !pod.metadata?.deletionTimestamp);
    if (pods.length === 0 || needsSurge(state, name, pods)) actions.push(createPod(state, name));
    for (const pod of superfluous(state, staying)) actions.push(deletePod(state, pod));
  }
  for (const [name, pods] of state.podsByNode) {
    if (wantedNames.has(name) || (state.tolerated.has(name) && pods.every((pod) => pod.spec?.nodeName)))
      continue;
    for (const pod of pods) if (!pod.metadata?.deletionTimestamp) actions.push(deletePod(state, pod));
  }
  return { actions, retryMs: waits.length > 0 ? Math.min(...waits) : undefined };
}

function failedMessage(pod: Pod, node: string): string {
  const { namespace, name } = pod.metadata ?? {};
  return `Found failed daemon pod ${namespace}/${name} on node ${node}, will try to kill it`;
}

function failureWaitMs({ set, now }: State, failures: Failures, node: string): number {
  const key = `${set.metadata?.uid}/${node}`;
  const known = failures.get(key);
  const nowMs = now.getTime();
  if (known && known.untilMs > nowMs) return known.untilMs - nowMs;
  const count = (known?.count ?? 0) + 1;
  const backoffMs = Math.min(FAILED_POD_BACKOFF_MS * 2 ** (count - 1), FAILED_POD_BACKOFF_MAX_MS);
  failures.set(key, { count, untilMs: nowMs + backoffMs });
  return 0;
}

/** Pods beyond the one that a node should have: during a surge one old and one new may stay. */
function superfluous(state: State, staying: readonly Pod[]): Pod[] {
  if (staying.length <= 1) return [];
  if (rolloutLimits(state).maxSurge === 0) return staying.slice(1);
  const old = staying.filter((pod) => !isUpdated(state, pod));
  const updated = staying.filter((pod) => isUpdated(state, pod));
  const isReplaced = updated.some((pod) =>
    isPodAvailable(pod, state.set.spec?.minReadySeconds ?? 0, state.now),
  );
  return [...(isReplaced ? old : old.slice(1)), ...updated.slice(1)];
}

function needsSurge(state: State, node: string, pods: readonly Pod[]): boolean {
  const { maxSurge } = rolloutLimits(state);
  if (maxSurge === 0 || pods.some((pod) => isUpdated(state, pod))) return false;
  if (pods.some((pod) => pod.metadata?.deletionTimestamp)) return false;
  const nodes = [...state.podsByNode].filter(([, list]) => list.length > 1).map(([name]) => name);
  const outdated = state.wanted
    .map((entry) => entry.metadata?.name ?? '')
    .filter((name) => !(state.podsByNode.get(name) ?? []).some((pod) => isUpdated(state, pod)));
  return outdated.slice(0, Math.max(0, maxSurge - nodes.length)).includes(node);
}

/** Deletes pods of old templates: those that do not work at once, others as maxUnavailable lets. */
function planRollout(state: State): Action[] {
  const { set, wanted, now } = state;
  const { maxUnavailable, maxSurge } = rolloutLimits(state);
  if (set.spec?.updateStrategy?.type === 'OnDelete' || maxSurge > 0) return [];
  let unavailable = 0;
  const broken: Pod[] = [];
  const working: Pod[] = [];
  for (const node of wanted) {
    const pods = state.podsByNode.get(node.metadata?.name ?? '') ?? [];
    const available = pods.find(
      (pod) => !pod.metadata?.deletionTimestamp && isPodAvailable(pod, set.spec?.minReadySeconds ?? 0, now),
    );
    if (!available) unavailable += 1;
    for (const pod of pods) {
      if (isUpdated(state, pod) || pod.metadata?.deletionTimestamp) continue;
      (pod === available ? working : broken).push(pod);
    }
  }
  const room = Math.max(0, maxUnavailable - unavailable);
  return [...broken, ...working.slice(0, room)].map((pod) => deletePod(state, pod));
}

function rolloutLimits({ set, wanted }: State): {
  readonly maxUnavailable: number;
  readonly maxSurge: number;
} {
  const { type, rollingUpdate } = set.spec?.updateStrategy ?? {};
  if (type === 'OnDelete') return { maxUnavailable: 0, maxSurge: 0 };
  const maxSurge = resolveIntOrPercent(rollingUpdate?.maxSurge, wanted.length, 'up');
  const unavailable = resolveIntOrPercent(rollingUpdate?.maxUnavailable ?? 1, wanted.length, 'up');
  return { maxSurge, maxUnavailable: maxSurge === 0 ? Math.max(1, unavailable) : unavailable };
}

function isUpdated({ set, hash }: State, pod: Pod): boolean {
  const labels = pod.metadata?.labels;
  const generation = set.metadata?.annotations?.['deprecated.daemonset.template.generation'];
  if (labels?.[REVISION_HASH_LABEL] === hash) return true;
  return (
    generation !== undefined && labels?.[GENERATION_LABEL] === generation && !labels[REVISION_HASH_LABEL]
  );
}

function createPod(state: State, nodeName: string): Action {
  const { set, hash } = state;
  const pod = buildPodFromTemplate(set.spec?.template, set, buildControllerReference(DAEMON_SETS, set));
  const generation = set.metadata?.annotations?.['deprecated.daemonset.template.generation'];
  const labels = {
    ...pod.metadata?.labels,
    [REVISION_HASH_LABEL]: hash,
    ...(generation ? { [GENERATION_LABEL]: generation } : {}),
  };
  const object: Pod = { ...pod, metadata: { ...pod.metadata, labels }, spec: buildSpec(set, nodeName) };
  return create(PODS, object, { announce: { kind: DAEMON_SETS, owner: set } });
}

/** The template's spec with the daemon tolerations and, for a node, an affinity to exactly that node. */
function buildSpec(set: DaemonSet, nodeName: string | undefined): PodSpec {
  const spec: PodSpec = set.spec?.template.spec ?? { containers: [] };
  const added = spec.hostNetwork ? [...DAEMON_TOLERATIONS, HOST_NETWORK_TOLERATION] : DAEMON_TOLERATIONS;
  const tolerations = [...(spec.tolerations ?? [])];
  for (const toleration of added) {
    if (!tolerations.some((entry) => isSameJson(entry, toleration))) tolerations.push(toleration);
  }
  if (nodeName === undefined) return { ...spec, tolerations };
  const field = { key: 'metadata.name', operator: 'In', values: [nodeName] };
  const nodeAffinity = spec.affinity?.nodeAffinity;
  const terms = nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [{}];
  const required = { nodeSelectorTerms: terms.map((term) => ({ ...term, matchFields: [field] })) };
  const affinity = {
    ...spec.affinity,
    nodeAffinity: { ...nodeAffinity, requiredDuringSchedulingIgnoredDuringExecution: required },
  };
  return { ...spec, tolerations, affinity };
}

function deletePod({ set }: State, pod: Pod, reason = 'SuccessfulDelete', message?: string): Action {
  const type = reason === 'SuccessfulDelete' ? 'Normal' : 'Warning';
  return {
    verb: 'parallel',
    actions: [
      event(DAEMON_SETS, set, type, reason, message ?? `Deleted pod: ${pod.metadata?.name}`),
      remove(PODS, pod),
    ],
  };
}

function buildStatus(state: State): DaemonSetStatus {
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
