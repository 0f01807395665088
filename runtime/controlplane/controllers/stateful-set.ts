import type { ControllerRevision, StatefulSet, StatefulSetStatus } from 'kubernetes-types/apps/v1.d.ts';
import type { PersistentVolumeClaim, Pod, PodTemplateSpec } from 'kubernetes-types/core/v1.d.ts';
import { PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS } from '../../api/kinds.ts';
import { type Action, create, event, parallel, remove, updateStatus } from '../component/action.ts';
import {
  buildControllerReference,
  isPodAvailable,
  isPodReady,
  isPodTerminal,
  isSameJson,
  resolveIntOrPercent,
} from '../component/objects.ts';
import type { View } from '../component/view.ts';
import { type Controller, type ReconcileContext, type ReconcileResult, SETTLED } from './controller.ts';
import { buildPodFromTemplate } from './pod-template.ts';
import { nextAvailabilityMs } from './replica-set.ts';
import { planHistoryCleanup, REVISION_HASH_LABEL, templateOf } from './revision-history.ts';
import { observeSet, watchRevisioned } from './revisioned-set.ts';

const POD_NAME_LABEL = 'statefulset.kubernetes.io/pod-name';
const POD_INDEX_LABEL = 'apps.kubernetes.io/pod-index';

/** Keeps the numbered pods of StatefulSets, each with its own claims. */
export function createStatefulSetController(): Controller {
  return {
    name: 'statefulset-controller',
    watches: [...watchRevisioned(STATEFUL_SETS), { kind: PERSISTENT_VOLUME_CLAIMS, keys: () => [] }],
    reconcile: reconcileStatefulSet,
  };
}

interface State {
  readonly set: StatefulSet;
  readonly view: View;
  readonly now: Date;
  readonly currentRevision: string;
  readonly updateRevision: string;
  readonly currentTemplate: PodTemplateSpec | undefined;
  /** By ordinal: those that should be, undefined where there is none. */
  readonly replicas: readonly (Pod | undefined)[];
  readonly start: number;
  /** Beyond the number of replicas, highest ordinal first. */
  readonly condemned: readonly Pod[];
  readonly pods: readonly Pod[];
}

function reconcileStatefulSet(key: string, { view, now }: ReconcileContext): ReconcileResult {
  const canAdopt = (set: StatefulSet, pod: Pod) => ordinalOf(set, pod) !== undefined;
  const observed = observeSet(view, STATEFUL_SETS, { key, canAdopt });
  if (!observed) return SETTLED;
  const { set, pods, history, claims } = observed;
  if (!history) return { actions: claims };
  const updateRevision = history.current?.metadata?.name ?? `${set.metadata?.name}-${history.hash}`;
  const state = observe(set, pods, history.revisions, updateRevision, view, now);
  const status = buildStatus(state);
  const used = new Set([status.currentRevision ?? '', updateRevision, ...pods.map(revisionOf)]);
  return {
    actions: [
      ...claims,
      ...history.actions,
      ...planPods(state),
      ...(isSameJson(status, set.status) ? [] : [updateStatus(STATEFUL_SETS, { ...set, status })]),
      ...planHistoryCleanup(set, history, used),
    ],
    requeueAfterMs: nextAvailabilityMs(pods, set.spec?.minReadySeconds ?? 0, now),
  };
}

function observe(
  set: StatefulSet,
  pods: readonly Pod[],
  revisions: readonly ControllerRevision[],
  updateRevision: string,
  view: View,
  now: Date,
): State {
  const start = (set.spec as { ordinals?: { start?: number } }).ordinals?.start ?? 0;
  const count = set.spec?.replicas ?? 1;
  const replicas: (Pod | undefined)[] = Array.from({ length: count }, () => undefined);
  const condemned: Pod[] = [];
  for (const pod of pods) {
    const ordinal = ordinalOf(set, pod);
    if (ordinal === undefined) continue;
    if (ordinal >= start && ordinal < start + count) replicas[ordinal - start] = pod;
    else condemned.push(pod);
  }
  condemned.sort((a, b) => (ordinalOf(set, b) ?? 0) - (ordinalOf(set, a) ?? 0));
  const known = revisions.find(({ metadata }) => metadata?.name === set.status?.currentRevision);
  return {
    set,
    view,
    now,
    start,
    replicas,
    condemned,
    pods,
    updateRevision,
    currentRevision: known?.metadata?.name ?? updateRevision,
    currentTemplate: templateOf(known),
  };
}

/** The number at the end of a pod's name, if the rest is the set's name. */
function ordinalOf({ metadata }: StatefulSet, pod: Pod): number | undefined {
  const name = pod.metadata?.name ?? '';
  const prefix = `${metadata?.name}-`;
  const digits = name.startsWith(prefix) ? name.slice(prefix.length) : '';
  return /^\d+$/.test(digits) ? Number(digits) : undefined;
}

/** One step in order: replace ended pods, create missing ones, delete surplus ones, then update. */
function planPods(state: State): Action[] {
  const { set, replicas, condemned } = state;
  const isParallel = set.spec?.podManagementPolicy === 'Parallel';
  const actions: Action[] = [];
  for (let index = 0; index < replicas.length; index += 1) {
    const pod = replicas[index];
    const step = planReplica(state, index, pod);
    actions.push(...step);
    const isSettled = pod && step.length === 0 && isHealthy(state, pod);
    if (!isParallel && !isSettled) return actions;
  }
  if (actions.length > 0) return parallel(actions, { slowStart: true });
  const surplus = planCondemned(state, isParallel);
  if (surplus.length > 0 || condemned.length > 0) return surplus;
  return planUpdate(state);
}

function planReplica(state: State, index: number, pod: Pod | undefined): Action[] {
  if (!pod) return createReplica(state, index);
  if (isPodTerminal(pod) && !pod.metadata?.deletionTimestamp) {
    const message = `StatefulSet ${state.set.metadata?.namespace}/${state.set.metadata?.name} is recreating ${pod.status?.phase} Pod ${pod.metadata?.name}`;
    return [
      event(STATEFUL_SETS, state.set, 'Warning', `Recreating${pod.status?.phase}Pod`, message),
      remove(PODS, pod),
    ];
  }
  return [];
}

function planCondemned(state: State, isParallel: boolean): Action[] {
  const { condemned, replicas } = state;
  if (!isParallel && !replicas.every((pod) => pod && isHealthy(state, pod))) return [];
  const actions: Action[] = [];
  for (const pod of condemned) {
    if (!pod.metadata?.deletionTimestamp) actions.push(...deleteReplica(state, pod));
    if (!isParallel) break;
  }
  return parallel(actions);
}

/** Replaces pods of old templates from the highest ordinal down to the partition. */
function planUpdate(state: State): Action[] {
  const { set, replicas, updateRevision } = state;
  if (set.spec?.updateStrategy?.type === 'OnDelete') return [];
  const { partition = 0, maxUnavailable } = set.spec?.updateStrategy?.rollingUpdate ?? {};
  const room = Math.max(1, resolveIntOrPercent(maxUnavailable ?? 1, replicas.length, 'up'));
  let unavailable = replicas.filter((pod) => !pod || !isHealthy(state, pod)).length;
  const actions: Action[] = [];
  for (let index = replicas.length - 1; index >= Math.max(0, partition - state.start); index -= 1) {
    const pod = replicas[index];
    if (!pod) continue;
    const isOutdated = revisionOf(pod) !== updateRevision;
    if (isOutdated && !pod.metadata?.deletionTimestamp) {
      const isBroken = !isHealthy(state, pod);
      if (!isBroken && unavailable >= room) break;
      actions.push(...deleteReplica(state, pod));
      if (!isBroken) unavailable += 1;
      if (unavailable >= room) break;
    } else if (!isHealthy(state, pod) && unavailable >= room) break;
  }
  return actions;
}

function isHealthy({ set, now }: State, pod: Pod): boolean {
  const isRunning = pod.status?.phase === 'Running' && !pod.metadata?.deletionTimestamp;
  return isRunning && isPodAvailable(pod, set.spec?.minReadySeconds ?? 0, now);
}

function revisionOf(pod: Pod): string {
  return pod.metadata?.labels?.[REVISION_HASH_LABEL] ?? '';
}

function createReplica(state: State, index: number): Action[] {
  const { set, view } = state;
  const ordinal = state.start + index;
  const partition = set.spec?.updateStrategy?.rollingUpdate?.partition ?? 0;
  const isOnDelete = set.spec?.updateStrategy?.type === 'OnDelete';
  const usesCurrent = !isOnDelete && ordinal < partition && state.currentTemplate !== undefined;
  const template = usesCurrent ? state.currentTemplate : set.spec?.template;
  const revision = usesCurrent ? state.currentRevision : state.updateRevision;
  const claims = buildClaims(set, ordinal);
  const missing = claims.filter(
    ({ metadata }) => !view.get(PERSISTENT_VOLUME_CLAIMS, `${metadata?.namespace}/${metadata?.name}`),
  );
  const pod = buildReplica(set, template, ordinal, revision);
  const message = `create Pod ${pod.metadata?.name} in StatefulSet ${set.metadata?.name} successful`;
  return [
    {
      verb: 'parallel',
      actions: missing.map((entry) => create(PERSISTENT_VOLUME_CLAIMS, entry, { ignoreExisting: true })),
    },
    create(PODS, pod, { ignoreExisting: true }),
    event(STATEFUL_SETS, set, 'Normal', 'SuccessfulCreate', message),
  ];
}

function deleteReplica({ set }: State, pod: Pod): Action[] {
  const message = `delete Pod ${pod.metadata?.name} in StatefulSet ${set.metadata?.name} successful`;
  return [remove(PODS, pod), event(STATEFUL_SETS, set, 'Normal', 'SuccessfulDelete', message)];
}

function buildReplica(
  set: StatefulSet,
  template: PodTemplateSpec | undefined,
  ordinal: number,
  revision: string,
): Pod {
  const { generateName: _, ...metadata } = buildPodFromTemplate(
    template,
    set,
    buildControllerReference(STATEFUL_SETS, set),
  ).metadata!;
  const name = `${set.metadata?.name}-${ordinal}`;
  const labels = {
    ...metadata.labels,
    [REVISION_HASH_LABEL]: revision,
    [POD_NAME_LABEL]: name,
    [POD_INDEX_LABEL]: String(ordinal),
  };
  const claimed = (set.spec?.volumeClaimTemplates ?? []).map((claim) => ({
    name: claim.metadata?.name ?? '',
    persistentVolumeClaim: { claimName: claimName(set, claim, ordinal) },
  }));
  const names = new Set(claimed.map((volume) => volume.name));
  const volumes = [
    ...claimed,
    ...(template?.spec?.volumes ?? []).filter((volume) => !names.has(volume.name)),
  ];
  const spec = { ...template?.spec, hostname: name, subdomain: set.spec?.serviceName ?? '' };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...metadata, name, labels },
    spec: {
      containers: [],
      ...spec,
      ...(volumes.length > 0 ? { volumes } : {}),
    },
  };
}

function buildClaims(set: StatefulSet, ordinal: number): PersistentVolumeClaim[] {
  return (set.spec?.volumeClaimTemplates ?? []).map((claim) => ({
    metadata: {
      name: claimName(set, claim, ordinal),
      namespace: set.metadata?.namespace ?? '',
      labels: { ...claim.metadata?.labels, ...set.spec?.selector.matchLabels },
      ...(claim.metadata?.annotations ? { annotations: claim.metadata.annotations } : {}),
    },
    ...(claim.spec ? { spec: claim.spec } : {}),
  }));
}

function claimName(set: StatefulSet, claim: PersistentVolumeClaim, ordinal: number): string {
  return `${claim.metadata?.name}-${set.metadata?.name}-${ordinal}`;
}

function buildStatus(state: State): StatefulSetStatus {
  const { set, pods, updateRevision, now } = state;
  const alive = pods.filter((pod) => !isPodTerminal(pod));
  const steady = alive.filter((pod) => !pod.metadata?.deletionTimestamp);
  const updated = steady.filter((pod) => revisionOf(pod) === updateRevision).length;
  const wanted = set.spec?.replicas ?? 1;
  const minReadySeconds = set.spec?.minReadySeconds ?? 0;
  const isRolledOut =
    set.spec?.updateStrategy?.type !== 'OnDelete' &&
    updated === wanted &&
    steady.length === wanted &&
    steady.filter(isPodReady).length === wanted;
  const currentRevision = isRolledOut ? updateRevision : state.currentRevision;
  const { collisionCount } = set.status ?? {};
  return {
    observedGeneration: set.metadata?.generation ?? 0,
    replicas: alive.length,
    readyReplicas: steady.filter(isPodReady).length,
    availableReplicas: steady.filter((pod) => isPodAvailable(pod, minReadySeconds, now)).length,
    currentReplicas: steady.filter((pod) => revisionOf(pod) === currentRevision).length,
    updatedReplicas: updated,
    currentRevision,
    updateRevision,
    collisionCount: collisionCount ?? 0,
  };
}
