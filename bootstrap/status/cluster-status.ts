import type { Event, Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import { isNodeReady } from '../../runtime/api/node-ready.ts';
import { quantityToNumber } from '../../runtime/api/quantity.ts';
import type { ClusterEvidence } from '../diagnose/evidence.ts';
import { leaseAgeMs } from '../diagnose/rows/nodes.ts';

/** A node at a glance. Bytes and seconds; what nobody tells is absent. */
export interface NodeStatusRow {
  readonly name: string;
  readonly roles: readonly string[];
  readonly ready: boolean;
  /** Why it is not. */
  readonly reason?: string;
  readonly isCordoned: boolean;
  readonly ageSeconds: number;
  /** Since its agent has reported last. */
  readonly reportedSeconds?: number;
  readonly version: string;
  readonly cpus?: number;
  readonly memoryBytes?: number;
  readonly memoryUsedBytes?: number;
}

export interface WorkloadRow {
  readonly name: string;
  readonly ready: number;
  readonly wanted: number;
}

export interface PodRow {
  readonly namespace: string;
  readonly name: string;
  readonly node: string;
  readonly reason: string;
}

/** The cluster at a glance: the document of `tkadm status`. */
export interface ClusterStatus {
  readonly ok: boolean;
  readonly server: string;
  /** Kubernetes version of the API server. */
  readonly version?: string;
  /** "ok", or why the API server cannot be asked. */
  readonly api: string;
  readonly nodes: readonly NodeStatusRow[];
  readonly components: readonly WorkloadRow[];
  readonly addons: readonly WorkloadRow[];
  readonly pods: number;
  readonly podsNotReady: readonly PodRow[];
  readonly warnings: readonly {
    readonly object: string;
    readonly reason: string;
    readonly message: string;
    readonly ageSeconds: number;
  }[];
  /** Of this machine's certificates the one that ends first. */
  readonly nextExpiry?: { readonly name: string; readonly notAfter: string };
  /** Of the embedded store, on this machine. */
  readonly storeBytes?: number;
}

export interface StatusInput {
  readonly cluster: ClusterEvidence;
  readonly version: string | undefined;
  readonly now: Date;
  /** By node name. */
  readonly memoryUsedBytes: ReadonlyMap<string, number>;
  readonly nextExpiry?: ClusterStatus['nextExpiry'] | undefined;
  readonly storeBytes?: number | undefined;
}

const SYSTEM = 'kube-system';
const ROLE_LABEL = 'node-role.kubernetes.io/';
const WARNINGS_AT_MOST = 5;
/** Older warnings are history. */
const WARNING_MS = 10 * 60_000;
const COMPONENTS = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'];

/** Sums evidence up. */
export function buildStatus(input: StatusInput): ClusterStatus {
  const { cluster, version, nextExpiry, storeBytes, now } = input;
  const nodes = cluster.nodes.map((node) => describeNode(node, input));
  const components = COMPONENTS.flatMap((name) => countComponent(name, cluster.pods));
  const addons = [
    ...cluster.daemonSets.map(({ metadata, status }) => ({
      name: metadata?.name ?? '',
      ready: status?.numberReady ?? 0,
      wanted: status?.desiredNumberScheduled ?? 0,
    })),
    ...cluster.deployments.map(({ metadata, status, spec }) => ({
      name: metadata?.name ?? '',
      ready: status?.readyReplicas ?? 0,
      wanted: spec?.replicas ?? 1,
    })),
  ];
  const podsNotReady = cluster.pods.flatMap(describeUnready);
  const isWhole = [...components, ...addons].every(({ ready, wanted }) => ready >= wanted);
  return {
    ok: !cluster.problem && isWhole && nodes.every(({ ready }) => ready) && podsNotReady.length === 0,
    server: cluster.server,
    ...(version === undefined ? {} : { version }),
    api: cluster.problem?.message ?? 'ok',
    nodes,
    components,
    addons,
    pods: cluster.pods.length,
    podsNotReady,
    warnings: listWarnings(cluster, now),
    ...(nextExpiry ? { nextExpiry } : {}),
    ...(storeBytes === undefined ? {} : { storeBytes }),
  };
}

function describeNode(node: Node, { cluster, now, memoryUsedBytes }: StatusInput): NodeStatusRow {
  const { metadata, spec, status } = node;
  const name = metadata?.name ?? '';
  const ready = isNodeReady(node);
  const condition = status?.conditions?.find(({ type }) => type === 'Ready');
  const ageMs = leaseAgeMs(node, cluster, now);
  const used = memoryUsedBytes.get(name);
  const { cpu, memory } = status?.capacity ?? {};
  return {
    name,
    roles: Object.keys(metadata?.labels ?? {})
      .filter((label) => label.startsWith(ROLE_LABEL))
      .map((label) => label.slice(ROLE_LABEL.length)),
    ready,
    ...(ready ? {} : { reason: condition?.message ?? condition?.reason ?? 'it has not reported yet' }),
    isCordoned: spec?.unschedulable ?? false,
    ageSeconds: secondsSince(metadata?.creationTimestamp, now),
    ...(ageMs === undefined ? {} : { reportedSeconds: Math.max(0, Math.round(ageMs / 1000)) }),
    version: status?.nodeInfo?.kubeletVersion ?? '',
    ...(cpu === undefined ? {} : { cpus: quantityToNumber(cpu) }),
    ...(memory === undefined ? {} : { memoryBytes: quantityToNumber(memory) }),
    ...(used === undefined ? {} : { memoryUsedBytes: used }),
  };
}

/** The static pods of a component, on all control-plane nodes; none where there is no such pod. */
function countComponent(name: string, pods: readonly Pod[]): readonly WorkloadRow[] {
  const own = pods.filter(
    ({ metadata }) => metadata?.namespace === SYSTEM && metadata.labels?.['component'] === name,
  );
  return own.length === 0 ? [] : [{ name, ready: own.filter(isReady).length, wanted: own.length }];
}

function isReady({ status }: Pod): boolean {
  return status?.conditions?.some(({ type, status: state }) => type === 'Ready' && state === 'True') ?? false;
}

function describeUnready(pod: Pod): readonly PodRow[] {
  const { metadata, spec, status } = pod;
  if (isReady(pod) || status?.phase === 'Succeeded') return [];
  const all = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
  const waiting = all.find(({ state }) => state?.waiting?.reason)?.state?.waiting?.reason;
  const reason = status?.conditions?.find(
    (row) => row.type === 'PodScheduled' && row.status === 'False',
  )?.reason;
  return [
    {
      namespace: metadata?.namespace ?? '',
      name: metadata?.name ?? '',
      node: spec?.nodeName ?? '',
      reason: metadata?.deletionTimestamp
        ? 'Terminating'
        : (waiting ?? reason ?? status?.reason ?? status?.phase ?? 'Unknown'),
    },
  ];
}

/** The last ones, the newest first, without those of pods that are gone or have become ready since. */
function listWarnings({ events, pods }: ClusterEvidence, now: Date): ClusterStatus['warnings'] {
  return events
    .filter((event) => event.type === 'Warning' && !isOver(event, pods))
    .map((event) => ({
      object: [
        event.involvedObject.kind?.toLowerCase(),
        event.involvedObject.namespace,
        event.involvedObject.name,
      ]
        .filter(Boolean)
        .join('/'),
      reason: event.reason ?? '',
      message: event.message ?? '',
      ageSeconds: secondsSince(timeOf(event), now),
    }))
    .filter(({ ageSeconds }) => ageSeconds * 1000 < WARNING_MS)
    .sort((a, b) => a.ageSeconds - b.ageSeconds)
    .slice(0, WARNINGS_AT_MOST);
}

function isOver(event: Event, pods: readonly Pod[]): boolean {
  const { kind, namespace, name } = event.involvedObject;
  // By name: events of a static pod carry another uid than its object.
  const pod = pods.find(({ metadata }) => metadata?.namespace === namespace && metadata?.name === name);
  if (kind !== 'Pod') return false;
  if (!pod) return true;
  const readyAt = pod.status?.conditions?.find(
    (row) => row.type === 'Ready' && row.status === 'True',
  )?.lastTransitionTime;
  return readyAt !== undefined && Date.parse(readyAt) >= Date.parse(timeOf(event) ?? '');
}

function timeOf({ lastTimestamp, eventTime, metadata }: Event): string | undefined {
  return lastTimestamp ?? eventTime ?? metadata?.creationTimestamp;
}

function secondsSince(text: string | undefined, now: Date): number {
  return Math.max(0, Math.round((now.getTime() - Date.parse(text ?? '')) / 1000)) || 0;
}
