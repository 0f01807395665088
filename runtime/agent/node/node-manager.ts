import type * as core from 'kubernetes-types/core/v1.d.ts';
import { isApiError } from '../../api/api-error.ts';
import { Informer } from '../../api/informer.ts';
import { LEASES, NODES } from '../../api/kinds.ts';
import { formatTime } from '../../api/time.ts';
import type { Logger } from '../../base/log.ts';
import { sleep } from '../../base/time.ts';
import type { CriClient } from '../../cri/client.ts';
import type { ApiLink, ApiSession } from '../api-link.ts';
import type { DeviceCounts } from '../devices/device-manager.ts';
import type { KubeletConfig } from '../kubelet-config.ts';
import type { MachineFacts } from './machine.ts';
import {
  buildNode,
  buildNodeStatus,
  defaultNodeLabels,
  isNodeStatusChanged,
  type NodeIdentity,
  type RuntimeFacts,
} from './node-object.ts';
import { readPressure } from './pressure.ts';
import { readImages, readRuntimeFacts } from './runtime-facts.ts';

export interface NodeManagerOptions {
  readonly link: ApiLink;
  readonly cri: CriClient;
  readonly config: KubeletConfig;
  readonly identity: NodeIdentity;
  readonly machine: MachineFacts;
  readonly rootDir: string;
  readonly isRegistering: boolean;
  readonly devices: () => DeviceCounts;
  readonly now: () => Date;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** The Node as the API has it, at each change. */
  readonly onNode: (node: core.Node) => void;
}

const UNREADY_POLL_MS = 250;
const RETRY_MS = 200;
const LEASE_NAMESPACE = 'kube-node-lease';

/** Registers the Node, keeps its status and its Lease fresh, and follows the API's copy of it. */
export class NodeManager {
  readonly #options: NodeManagerOptions;
  #node: core.Node | undefined;
  #status: core.NodeStatus | undefined;
  #reportedAtMs = 0;
  #wake: () => void = () => {};
  #isStale = false;

  constructor(options: NodeManagerOptions) {
    this.#options = options;
    options.link.onSession((session) => void this.#run(session));
  }

  /** The API's copy, once there is one. */
  get node(): core.Node | undefined {
    return this.#node;
  }

  /** What pods may use; computed here before the API knows. */
  allocatable(): Readonly<Record<string, string>> {
    return this.#status?.allocatable ?? this.#node?.status?.allocatable ?? {};
  }

  /** Looks at the machine again at once: its network may have become ready, or devices changed. */
  refresh(): void {
    this.#isStale = true;
    this.#wake();
  }

  /** The status from this machine's own view, for use before and without an API server. */
  async computeStatus(): Promise<{ readonly status: core.NodeStatus; readonly runtime: RuntimeFacts }> {
    const { cri, config, identity, machine, now, rootDir, devices } = this.#options;
    const [runtime, images, pressure] = await Promise.all([
      readRuntimeFacts(cri),
      readImages(cri),
      readPressure(rootDir),
    ]);
    const status = buildNodeStatus({
      identity,
      config,
      machine,
      runtime,
      pressure,
      images,
      devices: devices(),
      now: formatTime(now()),
      previous: this.#status ?? this.#node?.status,
    });
    this.#status = status;
    return { status, runtime };
  }

  async #run(session: ApiSession): Promise<void> {
    await this.#register(session);
    if (session.signal.aborted) return;
    void this.#follow(session);
    void this.#keepLease(session);
    await this.#keepStatus(session);
  }

  async #register({ client, signal }: ApiSession): Promise<void> {
    const { identity, machine, isRegistering, log } = this.#options;
    while (!signal.aborted) {
      try {
        const present = await client.find(NODES, { name: identity.name });
        if (present) this.#take(await this.#reconcileLabels(present));
        else if (isRegistering) {
          const { status } = await this.computeStatus();
          this.#take(await client.create(NODES, buildNode(identity, machine.architecture, status)));
          this.#reportedAtMs = this.#options.now().getTime();
          log.info('Registered the node', { node: identity.name });
        }
        if (this.#node) return;
      } catch (error) {
        if (isApiError(error, 'AlreadyExists')) continue;
        log.debug(`Cannot register the node: ${(error as Error).message}`);
      }
      await sleep(RETRY_MS, signal).catch(() => {});
    }
  }

  /** The kubelet's own labels win over what an older registration left. */
  async #reconcileLabels(node: core.Node): Promise<core.Node> {
    const { identity, machine, link } = this.#options;
    const wanted = { ...defaultNodeLabels(identity.hostname, machine.architecture), ...identity.labels };
    const labels = node.metadata?.labels ?? {};
    if (Object.entries(wanted).every(([key, value]) => labels[key] === value)) return node;
    return link
      .requireClient()
      .patch(NODES, { name: identity.name }, { type: 'merge', body: { metadata: { labels: wanted } } });
  }

  #take(node: core.Node): void {
    this.#node = node;
    this.#options.onNode(node);
  }

  async #follow(session: ApiSession): Promise<void> {
    const fieldSelector = `metadata.name=${this.#options.identity.name}`;
    const informer = new Informer(session.client, NODES, { fieldSelector, signal: session.signal });
    for await (const change of informer.changes()) {
      if (change.type !== 'DELETED') {
        this.#take(change.object);
        continue;
      }
      this.#node = undefined;
      await this.#register(session);
    }
  }

  async #keepStatus({ client, signal }: ApiSession): Promise<void> {
    const { config, identity, log, now } = this.#options;
    while (!signal.aborted) {
      let isReady = false;
      this.#isStale = false;
      try {
        const before = this.#node?.status;
        const { status, runtime } = await this.computeStatus();
        isReady = runtime.isReady && runtime.isNetworkReady;
        const isDue = now().getTime() - this.#reportedAtMs >= config.nodeStatusReportMs;
        if (this.#node && (isDue || isNodeStatusChanged(before, mergeForeign(before, status)))) {
          const body = { status: mergeForeign(before, status) };
          this.#take(
            await client.patch(
              NODES,
              { name: identity.name, subresource: 'status' },
              { type: 'merge', body },
            ),
          );
          this.#reportedAtMs = now().getTime();
        }
      } catch (error) {
        log.debug(`Cannot write the node's status: ${(error as Error).message}`);
      }
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
        if (this.#isStale) resolve();
      });
      const pauseMs = isReady ? config.nodeStatusUpdateMs : UNREADY_POLL_MS;
      await Promise.race([woken, sleep(pauseMs, signal).catch(() => {})]);
    }
  }

  async #keepLease({ client, signal }: ApiSession): Promise<void> {
    const { config, identity, log, now } = this.#options;
    const ref = { name: identity.name, namespace: LEASE_NAMESPACE };
    while (!signal.aborted) {
      const renewTime = `${now().toISOString().slice(0, -1)}000Z`;
      const spec = {
        holderIdentity: identity.name,
        leaseDurationSeconds: config.nodeLeaseDurationSeconds,
        renewTime,
      };
      let isRenewed = false;
      try {
        await client.patch(LEASES, ref, { type: 'merge', body: { spec } });
        isRenewed = true;
      } catch (error) {
        if (isApiError(error, 'NotFound') && this.#node) {
          const owner = {
            apiVersion: 'v1',
            kind: 'Node',
            name: identity.name,
            uid: this.#node.metadata?.uid ?? '',
          };
          await client.create(LEASES, { metadata: { ...ref, ownerReferences: [owner] }, spec }).then(
            () => {
              isRenewed = true;
            },
            (cause: Error) => log.debug(`Cannot create the node's lease: ${cause.message}`),
          );
        } else log.debug(`Cannot renew the node's lease: ${(error as Error).message}`);
      }
      const pauseMs = isRenewed ? (config.nodeLeaseDurationSeconds * 1000) / 4 : RETRY_MS * 5;
      await sleep(pauseMs, signal).catch(() => {});
    }
  }
}

/** Our status with the conditions and extended resources of others kept. */
function mergeForeign(before: core.NodeStatus | undefined, own: core.NodeStatus): core.NodeStatus {
  const types = new Set(own.conditions?.map(({ type }) => type));
  const foreign = (before?.conditions ?? []).filter(({ type }) => !types.has(type));
  return {
    ...before,
    ...own,
    capacity: { ...before?.capacity, ...own.capacity },
    allocatable: { ...before?.allocatable, ...own.allocatable },
    conditions: [...foreign, ...(own.conditions ?? [])],
  };
}
