import { join } from 'node:path';
import { TkadmError } from '../../base/errors.ts';
import { KeyedLock } from '../../base/keyed-lock.ts';
import type { Logger } from '../../base/log.ts';
import { type AgentPod, type Container, isSidecar } from '../pod.ts';
import { type Allocation, readCheckpoint, writeCheckpoint } from './checkpoint.ts';
import { askedDevices, chooseDevices } from './choose-devices.ts';
import { buildGrant, type DeviceGrant } from './grant.ts';
import { PluginEndpoint } from './plugin-endpoint.ts';
import { type Registration, serveRegistration } from './registration.ts';

export interface DeviceManagerOptions {
  /** "/var/lib/kubelet/device-plugins" */
  readonly directory: string;
  /** True once all sources have told their pods: before, a pod that is not known may still have devices. */
  readonly isSettled: () => boolean;
  /** Whether the pod's containers run or may run. */
  readonly isUsing: (podUid: string) => boolean;
  /** What the node has changed. */
  readonly onChange: () => void;
  readonly log: Logger;
}

/** Counts by resource name, as the Node tells them. */
export interface DeviceCounts {
  readonly capacity: Readonly<Record<string, string>>;
  /** The healthy ones. */
  readonly allocatable: Readonly<Record<string, string>>;
}

const CHECKPOINT = 'kubelet_internal_checkpoint';
/** How long the devices of a plugin that has gone stay in the Node's capacity; it may be a restart. */
const GONE_PLUGIN_MS = 5 * 60_000;

/** The node's device plugins, and which container has which device. Survives restarts by a checkpoint. */
export class DeviceManager {
  readonly #options: DeviceManagerOptions;
  readonly #endpoints = new Map<string, PluginEndpoint>();
  readonly #turn = new KeyedLock();
  readonly #timers = new Set<NodeJS.Timeout>();
  #allocations: readonly Allocation[] = [];
  /** Resources of plugins that are known and not there. */
  #gone = new Set<string>();
  #endServer: () => void = () => {};

  constructor(options: DeviceManagerOptions) {
    this.#options = options;
  }

  /** Reads what is given out, then takes registrations. */
  async start(): Promise<void> {
    const { directory } = this.#options;
    const { allocations, resourceNames } = await readCheckpoint(join(directory, CHECKPOINT));
    this.#allocations = allocations;
    this.#gone = new Set(resourceNames);
    this.#endServer = await serveRegistration(directory, (request) => this.#register(request));
  }

  /** Containers keep their devices. */
  close(): void {
    this.#endServer();
    for (const timer of this.#timers) clearTimeout(timer);
    for (const endpoint of this.#endpoints.values()) endpoint.close();
  }

  counts(): DeviceCounts {
    const capacity = Object.fromEntries([...this.#gone].map((name) => [name, '0']));
    const allocatable = { ...capacity };
    for (const [name, { devices }] of this.#endpoints) {
      capacity[name] = String(devices.size);
      allocatable[name] = String([...devices.values()].filter(Boolean).length);
    }
    return { capacity, allocatable };
  }

  /**
   * Gives each container of the pod the devices that it asks for, all or none; those that it has are kept.
   * @throws AGENT_DEVICE when there are too few, or the plugin fails.
   */
  async allocate(pod: AgentPod): Promise<void> {
    const isAsking = allOf(pod).some((container) => askedDevices(container).size > 0);
    if (isAsking) await this.#turn.run('allocate', () => this.#allocate(pod));
  }

  /** What a container gets with its devices; tells the plugins that want to know that it starts. */
  async prepareStart(podUid: string, containerName: string): Promise<DeviceGrant> {
    const own = this.#allocationsOf(podUid, containerName);
    for (const { resourceName, deviceIds } of own) {
      const endpoint = this.#endpoints.get(resourceName);
      if (endpoint?.isPreStartRequired) await endpoint.preStart(deviceIds);
    }
    return buildGrant(own.map(({ response }) => response));
  }

  #register({ resourceName, endpoint: name, options }: Registration): void {
    const { directory, log } = this.#options;
    log.info('A device plugin has registered', { resource: resourceName, endpoint: name });
    this.#endpoints.get(resourceName)?.close();
    const endpoint: PluginEndpoint = new PluginEndpoint({
      resourceName,
      socketPath: join(directory, name),
      options: options ?? {},
      onChange: () => this.#onChange(),
    });
    this.#endpoints.set(resourceName, endpoint);
    this.#gone.delete(resourceName);
    void endpoint.ended.then(() => this.#onEnd(resourceName, endpoint));
  }

  #onChange(): void {
    this.#options.onChange();
    this.#save().catch((error: Error) => this.#options.log.warn(error.message));
  }

  #onEnd(resourceName: string, endpoint: PluginEndpoint): void {
    if (this.#endpoints.get(resourceName) !== endpoint) return;
    this.#options.log.warn('A device plugin has gone', { resource: resourceName });
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.#endpoints.get(resourceName) !== endpoint) return;
      this.#endpoints.delete(resourceName);
      this.#gone.add(resourceName);
      this.#onChange();
    }, GONE_PLUGIN_MS);
    timer.unref();
    this.#timers.add(timer);
  }

  #allocationsOf(podUid: string, containerName: string): readonly Allocation[] {
    return this.#allocations.filter((one) => one.podUid === podUid && one.containerName === containerName);
  }

  async #allocate(pod: AgentPod): Promise<void> {
    const { isSettled, isUsing } = this.#options;
    const { uid } = pod.metadata;
    if (isSettled()) {
      this.#allocations = this.#allocations.filter((one) => one.podUid === uid || isUsing(one.podUid));
    }
    const added: Allocation[] = [];
    const reusable = new Map<string, Set<string>>();
    for (const container of allOf(pod)) {
      const isInit = pod.spec.initContainers?.includes(container) ?? false;
      for (const [resourceName, count] of askedDevices(container)) {
        if (!this.#endpoints.has(resourceName) && !this.#gone.has(resourceName)) continue;
        const free = reusable.get(resourceName) ?? new Set();
        const given =
          this.#allocationsOf(uid, container.name).find((one) => one.resourceName === resourceName) ??
          (await this.#give({ uid, container, resourceName, count, reusable: free, added }));
        if (!this.#allocations.includes(given)) added.push(given);
        // What an init container has is free again before the next one starts.
        const passesOn = isInit && !isSidecar(container);
        for (const id of given.deviceIds) {
          if (passesOn) free.add(id);
          else free.delete(id);
        }
        reusable.set(resourceName, free);
      }
    }
    if (added.length === 0) return;
    this.#allocations = [...this.#allocations, ...added];
    await this.#save();
  }

  async #give(wish: Wish): Promise<Allocation> {
    const { uid, container, resourceName, count, reusable, added } = wish;
    const endpoint = this.#endpoints.get(resourceName);
    if (!endpoint?.isRunning) {
      throw new TkadmError('AGENT_DEVICE', `can't allocate unregistered device ${resourceName}`);
    }
    const taken = new Set(
      [...this.#allocations, ...added]
        .filter((one) => one.resourceName === resourceName)
        .flatMap(({ deviceIds }) => deviceIds),
    );
    const available = [...endpoint.devices]
      .filter(([id, isHealthy]) => isHealthy && (reusable.has(id) || !taken.has(id)))
      .map(([id]) => id);
    if (available.length < count) {
      throw new TkadmError(
        'AGENT_DEVICE',
        `requested number of devices unavailable for ${resourceName}. Requested: ${count}, Available: ${available.length}`,
      );
    }
    const kept = available.filter((id) => reusable.has(id)).slice(0, count);
    const preferred = await endpoint.prefer(available, kept, count);
    const deviceIds = chooseDevices({ available, reusable: kept, preferred, count });
    const response = await endpoint.allocate(deviceIds);
    return { podUid: uid, containerName: container.name, resourceName, deviceIds, response };
  }

  async #save(): Promise<void> {
    const { directory } = this.#options;
    await this.#turn.run('save', () => {
      const known = new Map<string, readonly string[]>([...this.#gone].map((name) => [name, []]));
      for (const [name, { devices }] of this.#endpoints) known.set(name, [...devices.keys()]);
      return writeCheckpoint(join(directory, CHECKPOINT), this.#allocations, known);
    });
  }
}

interface Wish {
  readonly uid: string;
  readonly container: Container;
  readonly resourceName: string;
  readonly count: number;
  readonly reusable: ReadonlySet<string>;
  readonly added: readonly Allocation[];
}

/** In the order in which they start. */
function allOf(pod: AgentPod): readonly Container[] {
  return [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
}
