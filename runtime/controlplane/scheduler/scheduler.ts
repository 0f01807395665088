import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import { isApiError } from '../../api/api-error.ts';
import type { ApiClient } from '../../api/client.ts';
import type { Change } from '../../api/informer.ts';
import {
  type Kind,
  type KubeObject,
  NAMESPACES,
  NODES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PODS,
  REPLICA_SETS,
  REPLICATION_CONTROLLERS,
  SERVICES,
  STATEFUL_SETS,
  STORAGE_CLASSES,
} from '../../api/kinds.ts';
import { formatError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { EventAction } from '../component/action.ts';
import type { ClusterCache } from '../component/cluster-cache.ts';
import { isPodTerminal, isSameJson, podCondition, withCondition } from '../component/objects.ts';
import { NodeInfo } from './node-info.ts';
import { type Placement, placePod } from './placement.ts';
import { buildPodInfo, type PodInfo } from './pod-info.ts';
import { findPreemption, type Preemption } from './preemption.ts';
import { SchedulingQueue } from './scheduling-queue.ts';
import { bindVolumes } from './volume-binding.ts';

export const SCHEDULER_NAME = 'default-scheduler';

/** Every kind that decides on a pod's place. */
export const SCHEDULER_KINDS: readonly Kind<KubeObject>[] = [
  NODES,
  PODS,
  NAMESPACES,
  SERVICES,
  REPLICA_SETS,
  REPLICATION_CONTROLLERS,
  STATEFUL_SETS,
  PERSISTENT_VOLUMES,
  PERSISTENT_VOLUME_CLAIMS,
  STORAGE_CLASSES,
];

export interface SchedulerOptions {
  readonly client: ApiClient;
  readonly cache: ClusterCache;
  readonly record: (event: EventAction) => void;
  readonly signal: AbortSignal;
  readonly now: () => Date;
  readonly log: Logger;
  /** 0 <= random() < 1 */
  readonly random: () => number;
}

interface Try {
  readonly info: PodInfo;
  readonly attempts: number;
  readonly addedAtMs: number;
}

/** Gives each pod without a node the best one: one decision after another, bindings side by side. */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #queue = new SchedulingQueue();
  readonly #nodes = new Map<string, NodeInfo>();
  /** Pod → node: decided here, not seen from the server yet. */
  readonly #assumed = new Map<string, string>();
  readonly #placed = new Map<string, string>();

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  /** Works until the signal ends it. */
  async run(): Promise<void> {
    const { cache, signal } = this.#options;
    await cache.synced(SCHEDULER_KINDS);
    if (signal.aborted) return;
    signal.addEventListener('abort', () => this.#queue.close(), { once: true });
    cache.subscribe(NODES, (change) => this.#onNode(change as Change<Node>));
    cache.subscribe(PODS, (change) => this.#onPod(change as Change<Pod>));
    for (const kind of [PERSISTENT_VOLUMES, PERSISTENT_VOLUME_CLAIMS, STORAGE_CLASSES]) {
      cache.subscribe(kind, () => this.#queue.moveAll());
    }
    for (let next = await this.#queue.next(); next; next = await this.#queue.next()) this.#try(next);
  }

  #onNode({ type, object, previous, key }: Change<Node>): void {
    const info = this.#nodeInfo(key);
    if (type === 'DELETED') {
      info.set(undefined);
      if (info.pods.size === 0) this.#nodes.delete(key);
      return;
    }
    info.set(object);
    if (!previous || !isSameJson(factsOf(object), factsOf(previous))) this.#queue.moveAll();
  }

  #onPod({ type, object, previous, key }: Change<Pod>): void {
    const isGone = type === 'DELETED' || isPodTerminal(object);
    const nodeName = object.spec?.nodeName;
    if (isGone) {
      this.#queue.delete(key);
      this.#assumed.delete(key);
      const place = this.#placed.get(key);
      if (place !== undefined) {
        this.#displace(key);
        this.#queue.moveAll();
      }
    } else if (nodeName) {
      this.#queue.delete(key);
      const isNew = this.#placed.get(key) !== nodeName;
      this.#assumed.delete(key);
      this.#place(buildPodInfo(object), nodeName);
      // What is there now may be what another pod's affinity waits for.
      if (isNew && this.#queue.size > 0) this.#queue.moveAll();
    } else if (this.#isOurs(object) && !this.#assumed.has(key)) {
      const isChanged = !previous || !isSameJson(demandsOf(object), demandsOf(previous));
      this.#queue.add(buildPodInfo(object), isChanged);
    }
  }

  #isOurs({ spec, metadata }: Pod): boolean {
    const gates = (spec as { schedulingGates?: readonly unknown[] } | undefined)?.schedulingGates ?? [];
    return (
      (spec?.schedulerName ?? SCHEDULER_NAME) === SCHEDULER_NAME &&
      gates.length === 0 &&
      metadata?.deletionTimestamp === undefined
    );
  }

  #try(next: Try): void {
    const { cache, random } = this.#options;
    const { key } = next.info;
    const current = cache.view.get(PODS, key);
    if (!current || current.spec?.nodeName || !this.#isOurs(current)) return;
    const moves = this.#queue.moves;
    const nodes = [...this.#nodes.values()].filter((node) => node.node !== undefined);
    const pick = (count: number) => Math.floor(random() * count);
    const placement = placePod(next.info, nodes, cache.view, pick);
    if (placement.node) {
      this.#assumed.set(key, placement.node.name);
      this.#place(next.info, placement.node.name);
      void this.#bind(next, placement.node);
    } else void this.#refuse(next, placement, nodes, moves);
  }

  async #bind(next: Try, node: NodeInfo): Promise<void> {
    const { client, cache, record, log } = this.#options;
    const { pod, key } = next.info;
    const { name = '', namespace = '', uid = '' } = pod.metadata ?? {};
    try {
      await bindVolumes(pod, node, { client, cache });
      await client.requestJson('POST', `/api/v1/namespaces/${namespace}/pods/${name}/binding`, {
        body: {
          apiVersion: 'v1',
          kind: 'Binding',
          metadata: { name, namespace, uid },
          target: { apiVersion: 'v1', kind: 'Node', name: node.name },
        },
      });
      const message = `Successfully assigned ${key} to ${node.name}`;
      record({ kind: PODS, object: pod, type: 'Normal', reason: 'Scheduled', message });
    } catch (error) {
      if (this.#options.signal.aborted) return;
      if (this.#assumed.get(key) !== node.name) return;
      this.#assumed.delete(key);
      this.#displace(key);
      const current = cache.view.get(PODS, key);
      if (isApiError(error, 'NotFound') || !current || current.spec?.nodeName) return;
      log.warn(`Cannot bind "${key}": ${formatError(error)}`);
      this.#queue.putBack(next.info, next, { moves: this.#queue.moves, hasError: true });
      this.#queue.moveAll();
    }
  }

  async #refuse(
    next: Try,
    placement: Extract<Placement, { node: undefined }>,
    nodes: readonly NodeInfo[],
    moves: number,
  ): Promise<void> {
    const { cache, record, log } = this.#options;
    const { info } = next;
    const preemption = findPreemption(info, nodes, placement.rejections, cache.view);
    const message = placement.message + describePreemption(preemption, placement, nodes.length);
    this.#queue.putBack(info, next, { moves, hasError: false });
    try {
      await this.#markUnschedulable(info, message, preemption?.node.name);
      record({ kind: PODS, object: info.pod, type: 'Warning', reason: 'FailedScheduling', message });
      if (preemption) await this.#evict(preemption, info);
    } catch (error) {
      log.debug(`Cannot report on "${info.key}": ${formatError(error)}`);
    }
  }

  async #markUnschedulable({ key }: PodInfo, message: string, nominated: string | undefined): Promise<void> {
    const { client, cache, now } = this.#options;
    const pod = cache.view.get(PODS, key);
    if (!pod || pod.spec?.nodeName) return;
    const present = podCondition(pod, 'PodScheduled');
    const isKnown = present?.status === 'False' && present.message === message;
    const nominatedNodeName = nominated ?? pod.status?.nominatedNodeName;
    if (isKnown && nominatedNodeName === pod.status?.nominatedNodeName) return;
    const condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message };
    const conditions = withCondition(pod.status?.conditions, condition, now());
    const body = { status: { conditions, ...(nominatedNodeName ? { nominatedNodeName } : {}) } };
    const { name = '', namespace } = pod.metadata ?? {};
    await client.patch(PODS, { name, namespace, subresource: 'status' }, { type: 'merge', body });
  }

  async #evict({ node, victims }: Preemption, preemptor: PodInfo): Promise<void> {
    const { client, record, now } = this.#options;
    await Promise.all(
      victims.map(async ({ pod }) => {
        if (pod.metadata?.deletionTimestamp) return;
        const { name = '', namespace, uid = '' } = pod.metadata ?? {};
        const message = `${SCHEDULER_NAME}: preempting to accommodate a higher priority pod`;
        const condition = {
          type: 'DisruptionTarget',
          status: 'True',
          reason: 'PreemptionByScheduler',
          message,
        };
        const conditions = withCondition(pod.status?.conditions, condition, now());
        const ref = { name, namespace };
        await client.patch(
          PODS,
          { ...ref, subresource: 'status' },
          { type: 'merge', body: { status: { conditions } } },
        );
        await client.delete(PODS, ref, { preconditions: { uid } });
        const note = `Preempted by pod ${preemptor.pod.metadata?.uid} on node ${node.name}`;
        record({ kind: PODS, object: pod, type: 'Normal', reason: 'Preempted', message: note });
      }),
    );
  }

  #nodeInfo(name: string): NodeInfo {
    const present = this.#nodes.get(name);
    if (present) return present;
    const info = new NodeInfo(name);
    this.#nodes.set(name, info);
    return info;
  }

  #place(info: PodInfo, nodeName: string): void {
    const before = this.#placed.get(info.key);
    if (before !== undefined && before !== nodeName) this.#displace(info.key);
    this.#placed.set(info.key, nodeName);
    this.#nodeInfo(nodeName).add(info);
  }

  #displace(key: string): void {
    const name = this.#placed.get(key);
    if (name === undefined) return;
    this.#placed.delete(key);
    const info = this.#nodes.get(name);
    info?.remove(key);
    if (info && !info.node && info.pods.size === 0) this.#nodes.delete(name);
  }
}

/** What of a node a waiting pod may have been waiting for. */
function factsOf({ metadata, spec, status }: Node): unknown {
  return [metadata?.labels, spec?.taints, spec?.unschedulable, status?.allocatable];
}

/** What of a pod decides on its place. */
function demandsOf({ metadata, spec }: Pod): unknown {
  return [metadata?.labels, metadata?.deletionTimestamp, spec];
}

function describePreemption(
  preemption: Preemption | undefined,
  { rejections }: Extract<Placement, { node: undefined }>,
  nodeCount: number,
): string {
  if (nodeCount === 0 || preemption) return '';
  const unhelpful = [...rejections.values()].filter((reasons) =>
    reasons.some(({ isFinal }) => isFinal),
  ).length;
  const parts = [
    ...(nodeCount > unhelpful
      ? [`${nodeCount - unhelpful} No preemption victims found for incoming pod`]
      : []),
    ...(unhelpful > 0 ? [`${unhelpful} Preemption is not helpful for scheduling`] : []),
  ];
  return ` preemption: 0/${nodeCount} nodes are available: ${parts.sort().join(', ')}.`;
}
