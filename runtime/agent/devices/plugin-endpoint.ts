import { Client, credentials } from '@grpc/grpc-js';
import { TkadmError } from '../../base/errors.ts';
import { createCalls } from '../../base/grpc-client.ts';
import type { InitOf, MessageOf } from '../../base/protobuf.ts';
import type { RpcClient } from '../../base/rpc-rows.ts';
import {
  type ContainerAllocateResponse,
  DEVICE_PLUGIN_RPCS,
  type DevicePluginOptions,
  type DevicePluginRpc,
} from './messages.ts';

export interface PluginEndpointOptions {
  readonly resourceName: string;
  readonly socketPath: string;
  readonly options: InitOf<typeof DevicePluginOptions>;
  /** The devices have changed, or the plugin has gone: then all are unhealthy. */
  readonly onChange: () => void;
}

/** A plugin may begin to listen after it has registered. */
const CONNECT_TIMEOUT_MS = 10_000;
/** As the kubelet's: a plugin may have to reset a device first. */
const PRE_START_TIMEOUT_MS = 30_000;

/** One registered device plugin: its devices as it tells them, and the calls to it. */
export class PluginEndpoint {
  readonly #options: PluginEndpointOptions;
  readonly #client: Client;
  readonly #calls: RpcClient<DevicePluginRpc>;
  readonly #closing = new AbortController();
  #healthById: ReadonlyMap<string, boolean> = new Map();
  #isRunning = true;
  /** Resolves when the plugin has gone or was closed. */
  readonly ended: Promise<void>;

  constructor(options: PluginEndpointOptions) {
    this.#options = options;
    this.#client = new Client(`unix:${options.socketPath}`, credentials.createInsecure(), {
      'grpc.default_authority': 'localhost',
    });
    this.#calls = createCalls(
      this.#client,
      DEVICE_PLUGIN_RPCS,
      (row, { details, message }) =>
        new TkadmError(
          'AGENT_DEVICE',
          `Cannot call ${row.name} of the device plugin of "${options.resourceName}": ${details || message}`,
        ),
    );
    this.ended = this.#follow();
  }

  /** Device ids → whether each is healthy; none is once the plugin has gone. */
  get devices(): ReadonlyMap<string, boolean> {
    return this.#healthById;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Whether each start of a container must be told. */
  get isPreStartRequired(): boolean {
    return this.#options.options.preStartRequired ?? false;
  }

  /** @throws AGENT_DEVICE */
  async allocate(deviceIds: readonly string[]): Promise<MessageOf<typeof ContainerAllocateResponse>> {
    const { containerResponses } = await this.#calls.allocate(
      { containerRequests: [{ deviceIds }] },
      { signal: this.#closing.signal },
    );
    if (containerResponses[0]) return containerResponses[0];
    throw new TkadmError(
      'AGENT_DEVICE',
      `Cannot allocate "${this.#options.resourceName}": the device plugin answered for no container`,
    );
  }

  /** Which `count` of the available devices the plugin would rather give; [] when it does not care. */
  async prefer(
    availableDeviceIds: readonly string[],
    mustIncludeDeviceIds: readonly string[],
    count: number,
  ): Promise<readonly string[]> {
    if (!this.#options.options.getPreferredAllocationAvailable) return [];
    const { containerResponses } = await this.#calls.getPreferredAllocation(
      { containerRequests: [{ availableDeviceIds, mustIncludeDeviceIds, allocationSize: count }] },
      { signal: this.#closing.signal },
    );
    return containerResponses[0]?.deviceIds ?? [];
  }

  /** @throws AGENT_DEVICE */
  async preStart(deviceIds: readonly string[]): Promise<void> {
    await this.#calls.preStartContainer(
      { deviceIds },
      { signal: this.#closing.signal, timeoutMs: PRE_START_TIMEOUT_MS },
    );
  }

  close(): void {
    this.#closing.abort();
  }

  async #follow(): Promise<void> {
    try {
      await this.#connect();
      for await (const { devices } of this.#calls.listAndWatch({}, { signal: this.#closing.signal })) {
        this.#healthById = new Map(devices.map(({ id, health }) => [id, health === 'Healthy']));
        this.#options.onChange();
      }
    } catch {
      // A plugin that ends, or never listened, has no healthy devices: that is told below.
    }
    this.#isRunning = false;
    this.#healthById = new Map([...this.#healthById.keys()].map((id) => [id, false]));
    this.#client.close();
    this.#options.onChange();
  }

  #connect(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.waitForReady(Date.now() + CONNECT_TIMEOUT_MS, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  }
}
