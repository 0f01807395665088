import type { Node, NodeCondition, Pod, Taint } from 'kubernetes-types/core/v1.d.ts';
import { LEASES, NODES, PODS } from '../../api/kinds.ts';
import { isNodeReady } from '../../api/node-ready.ts';
import { formatTime } from '../../api/time.ts';
import { type Action, event, mergePatch, parallel, updateStatus } from '../component/action.ts';
import { isPodReady, isPodTerminal, isSameJson, withCondition } from '../component/objects.ts';
import type { View } from '../component/view.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watch,
} from './controller.ts';

const LEASE_NAMESPACE = 'kube-node-lease/';
const PREFIX = 'node.kubernetes.io/';

/** Condition → taint that forbids new pods while the condition has this status. */
const CONDITION_TAINTS = [
  { type: 'Ready', status: 'False', key: `${PREFIX}not-ready` },
  { type: 'Ready', status: 'Unknown', key: `${PREFIX}unreachable` },
  { type: 'MemoryPressure', status: 'True', key: `${PREFIX}memory-pressure` },
  { type: 'DiskPressure', status: 'True', key: `${PREFIX}disk-pressure` },
  { type: 'PIDPressure', status: 'True', key: `${PREFIX}pid-pressure` },
  { type: 'NetworkUnavailable', status: 'True', key: `${PREFIX}network-unavailable` },
] as const;
const UNSCHEDULABLE = `${PREFIX}unschedulable`;
const NO_SCHEDULE_KEYS: ReadonlySet<string> = new Set([
  ...CONDITION_TAINTS.map((row) => row.key),
  UNSCHEDULABLE,
]);
const NO_EXECUTE_KEYS: ReadonlySet<string> = new Set([`${PREFIX}not-ready`, `${PREFIX}unreachable`]);
/** Conditions that a kubelet reports and that become Unknown with it. */
const KUBELET_CONDITIONS = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'] as const;

export interface NodeLifecycleSettings {
  /** Silence after which a node counts as lost. */
  readonly gracePeriodMs: number;
}

/** What a node's heartbeat was last, and when this process saw it change (its own clock). */
interface Heartbeat {
  readonly text: string;
  readonly seenAtMs: number;
}

/** Marks nodes whose heartbeat stopped, and taints nodes by their conditions. */
export function createNodeLifecycleController(settings: NodeLifecycleSettings): Controller {
  const heartbeats = new Map<string, Heartbeat>();
  return {
    name: 'node-lifecycle-controller',
    watches: [
      watch(NODES, ({ key, type }) => {
        if (type === 'DELETED') heartbeats.delete(key);
        return [key];
      }),
      watch(LEASES, ({ key }) =>
        key.startsWith(LEASE_NAMESPACE) ? [key.slice(LEASE_NAMESPACE.length)] : [],
      ),
    ],
    reconcile(key, context): ReconcileResult {
      const node = context.view.get(NODES, key);
      if (!node) return SETTLED;
      const nowMs = context.now.getTime();
      const text = heartbeatOf(node, context.view);
      const known = heartbeats.get(key);
      const heartbeat = known?.text === text ? known : { text, seenAtMs: nowMs };
      heartbeats.set(key, heartbeat);
      const leftMs = heartbeat.seenAtMs + settings.gracePeriodMs - nowMs;
      return reconcileNode(node, leftMs, context);
    },
  };
}

/** Changes with every sign of life: the Lease's renewTime and the newest heartbeat of the status. */
function heartbeatOf(node: Node, view: View): string {
  const lease = view.get(LEASES, LEASE_NAMESPACE + (node.metadata?.name ?? ''));
  const ready = node.status?.conditions?.find((condition) => condition.type === 'Ready');
  const isOurs = ready?.status === 'Unknown' && ready.reason === 'NodeStatusUnknown';
  return `${lease?.spec?.renewTime ?? ''} ${isOurs ? 'lost' : (ready?.lastHeartbeatTime ?? '')}`;
}

function reconcileNode(node: Node, leftMs: number, { view, now }: ReconcileContext): ReconcileResult {
  const conditions = leftMs > 0 ? node.status?.conditions : lostConditions(node, now);
  const actions: Action[] = [];
  if (!isSameJson(conditions, node.status?.conditions)) {
    actions.push(updateStatus(NODES, { ...node, status: { ...node.status, conditions: conditions ?? [] } }));
    actions.push(
      event(NODES, node, 'Normal', 'NodeNotReady', `Node ${node.metadata?.name} status is now: NodeNotReady`),
    );
  }
  const taints = buildTaints(node, conditions, now);
  if (actions.length === 0 && !isSameTaints(taints, node.spec?.taints ?? [])) {
    const { resourceVersion } = node.metadata ?? {};
    actions.push(
      mergePatch(NODES, node, {
        metadata: { resourceVersion },
        spec: { taints: taints.length ? taints : null },
      }),
    );
  }
  if (!isNodeReady({ status: { conditions: conditions ?? [] } }))
    actions.push(...parallel(markPodsNotReady(node, view, now)));
  return { actions, requeueAfterMs: leftMs > 0 ? leftMs + 50 : undefined };
}

function lostConditions(node: Node, now: Date): NodeCondition[] {
  let conditions = node.status?.conditions ?? [];
  for (const type of KUBELET_CONDITIONS) {
    const present = conditions.find((condition) => condition.type === type);
    if (present?.status === 'Unknown') continue;
    const next: NodeCondition = {
      ...present,
      type,
      status: 'Unknown',
      reason: present ? 'NodeStatusUnknown' : 'NodeStatusNeverUpdated',
      message: present ? 'Kubelet stopped posting node status.' : 'Kubelet never posted node status.',
      lastHeartbeatTime: present?.lastHeartbeatTime ?? node.metadata?.creationTimestamp ?? formatTime(now),
    };
    conditions = withCondition(conditions, next as NodeCondition & { status: string }, now);
  }
  return conditions;
}

function buildTaints(node: Node, conditions: readonly NodeCondition[] | undefined, now: Date): Taint[] {
  const present = node.spec?.taints ?? [];
  const kept = present.filter(({ key, effect }) => {
    if (effect === 'NoSchedule') return !NO_SCHEDULE_KEYS.has(key);
    return !(effect === 'NoExecute' && NO_EXECUTE_KEYS.has(key));
  });
  const keys: string[] = CONDITION_TAINTS.filter((row) =>
    conditions?.some(({ type, status }) => type === row.type && status === row.status),
  ).map((row) => row.key);
  if (!conditions?.some(({ type }) => type === 'Ready')) keys.push(`${PREFIX}not-ready`);
  const since = (key: string, effect: string) =>
    present.find((taint) => taint.key === key && taint.effect === effect)?.timeAdded ?? formatTime(now);
  const added = keys.flatMap((key): Taint[] => [
    { key, effect: 'NoSchedule' },
    ...(NO_EXECUTE_KEYS.has(key)
      ? [{ key, effect: 'NoExecute' as const, timeAdded: since(key, 'NoExecute') }]
      : []),
  ]);
  if (node.spec?.unschedulable) added.push({ key: UNSCHEDULABLE, effect: 'NoSchedule' });
  return [...kept, ...added];
}

function isSameTaints(left: readonly Taint[], right: readonly Taint[]): boolean {
  const form = (taints: readonly Taint[]) =>
    taints.map((t) => `${t.key}=${t.value ?? ''}:${t.effect}`).sort();
  return isSameJson(form(left), form(right));
}

/** Takes the pods of a lost node out of Services. */
function markPodsNotReady(node: Node, view: View, now: Date): Action[] {
  const ready = node.status?.conditions?.find((condition) => condition.type === 'Ready');
  // A node that has just come has no pods to take back; its own kubelet tells of them.
  if (ready?.status !== 'Unknown') return [];
  return view
    .podsOnNode(node.metadata?.name ?? '')
    .filter((pod) => isPodReady(pod) && !isPodTerminal(pod))
    .map((pod: Pod) => {
      const conditions = withCondition(
        pod.status?.conditions as { type: string; status: string }[] | undefined,
        { type: 'Ready', status: 'False' },
        now,
      );
      return updateStatus(PODS, { ...pod, status: { ...pod.status, conditions } });
    });
}
