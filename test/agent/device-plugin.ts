import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  credentials,
  type GrpcObject,
  loadPackageDefinition,
  Server,
  ServerCredentials,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

/** The API's wire form, apart from the agent's own tables: plugins are written by others. */
const PROTO = `syntax = "proto3";
package v1beta1;
service Registration { rpc Register(RegisterRequest) returns (Empty); }
service DevicePlugin {
  rpc GetDevicePluginOptions(Empty) returns (Options);
  rpc ListAndWatch(Empty) returns (stream Devices);
  rpc GetPreferredAllocation(PreferredRequest) returns (PreferredResponse);
  rpc Allocate(AllocateRequest) returns (AllocateResponse);
  rpc PreStartContainer(Ids) returns (Empty);
}
message Empty {}
message Options { bool pre_start_required = 1; bool get_preferred_allocation_available = 2; }
message RegisterRequest { string version = 1; string endpoint = 2; string resource_name = 3; Options options = 4; }
message Devices { repeated Device devices = 1; }
message Device { string ID = 1; string health = 2; }
message Ids { repeated string ids = 1; }
message PreferredRequest { repeated Preferred requests = 1; }
message Preferred { repeated string available = 1; repeated string must = 2; int32 size = 3; }
message PreferredResponse { repeated Ids responses = 1; }
message AllocateRequest { repeated Ids requests = 1; }
message AllocateResponse { repeated Grant responses = 1; }
message Grant {
  map<string, string> envs = 1; repeated Mount mounts = 2; repeated Spec devices = 3; map<string, string> annotations = 4;
}
message Mount { string container_path = 1; string host_path = 2; bool read_only = 3; }
message Spec { string container_path = 1; string host_path = 2; string permissions = 3; }
`;

export interface Registration {
  readonly version?: string;
  readonly endpoint?: string;
  readonly resourceName?: string;
}

/** A device plugin whose devices are copies of /dev/null. */
export interface DevicePlugin {
  /** What PreStartContainer and Allocate were called with, in order. */
  readonly calls: string[];
  /** The message with which the next Allocate fails. */
  failure: string | undefined;
  /** Tells other devices: id → healthy. */
  setDevices(devices: Readonly<Record<string, boolean>>): void;
  /** Listens, again if need be, and registers. */
  register(registration?: Registration): Promise<void>;
  close(): void;
}

export interface DevicePluginOptions {
  /** The agent's "device-plugins". */
  readonly directory: string;
  /** For files of the plugin. */
  readonly scratch: string;
  readonly resourceName: string;
  readonly devices: Readonly<Record<string, boolean>>;
}

type Call<T> = { readonly request: T };
type Done = (error: Error | null, value?: unknown) => void;
interface Watch {
  write(value: unknown): void;
  on(event: 'cancelled', listener: () => void): void;
}

/** Makes a plugin with PreStartContainer and GetPreferredAllocation, which prefers the last ids. */
export function createDevicePlugin(options: DevicePluginOptions): DevicePlugin {
  const { directory, scratch, resourceName } = options;
  const proto = join(scratch, 'device-plugin.proto');
  writeFileSync(proto, PROTO);
  writeFileSync(join(scratch, 'library'), 'for the device\n');
  const api = loadPackageDefinition(loadSync(proto, { keepCase: true })) as GrpcObject;
  const { Registration, DevicePlugin } = api['v1beta1'] as GrpcObject;
  const watches = new Set<Watch>();
  let devices = options.devices;
  let server: Server | undefined;
  const list = () => ({
    devices: Object.entries(devices).map(([ID, ok]) => ({ ID, health: ok ? 'Healthy' : 'Unhealthy' })),
  });
  const grant = (ids: readonly string[]) => ({
    envs: { TEST_DEVICES: ids.join(',') },
    annotations: { 'example.com/devices': ids.join(',') },
    mounts: [{ container_path: '/usr/library', host_path: join(scratch, 'library'), read_only: true }],
    devices: ids.map((id) => ({
      container_path: `/dev/test-${id}`,
      host_path: '/dev/null',
      permissions: 'rw',
    })),
  });
  const handlers = {
    GetDevicePluginOptions: (_: unknown, done: Done) => done(null, {}),
    ListAndWatch: (watch: Watch) => {
      watches.add(watch);
      watch.on('cancelled', () => watches.delete(watch));
      watch.write(list());
    },
    GetPreferredAllocation: (
      { request }: Call<{ requests: { available: string[]; size: number }[] }>,
      done: Done,
    ) =>
      done(null, {
        responses: request.requests.map(({ available, size }) => ({
          ids: [...available].sort().slice(-size),
        })),
      }),
    Allocate: ({ request }: Call<{ requests: { ids: string[] }[] }>, done: Done) => {
      const { failure } = plugin;
      plugin.failure = undefined;
      if (failure) return done(Object.assign(new Error(failure), { code: 13, details: failure }));
      plugin.calls.push(...request.requests.map(({ ids }) => `allocate ${ids.join(',')}`));
      return done(null, { responses: request.requests.map(({ ids }) => grant(ids)) });
    },
    PreStartContainer: ({ request }: Call<{ ids: string[] }>, done: Done) => {
      plugin.calls.push(`start ${request.ids.join(',')}`);
      done(null, {});
    },
  };
  const listen = async () => {
    server?.forceShutdown();
    server = new Server();
    server.addService((DevicePlugin as unknown as { service: never }).service, handlers as never);
    const socket = join(directory, 'test.sock');
    rmSync(socket, { force: true });
    await new Promise<void>((resolve, reject) => {
      server?.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
  };
  const plugin: DevicePlugin = {
    calls: [],
    failure: undefined,
    setDevices(next) {
      devices = next;
      for (const watch of watches) watch.write(list());
    },
    async register(registration = {}) {
      await listen();
      const Client = Registration as unknown as new (
        target: string,
        how: unknown,
        settings: object,
      ) => { Register(request: object, done: (error: Error | null) => void): void; close(): void };
      const client = new Client(`unix:${join(directory, 'kubelet.sock')}`, credentials.createInsecure(), {
        'grpc.default_authority': 'localhost',
      });
      const request = {
        version: registration.version ?? 'v1beta1',
        endpoint: registration.endpoint ?? 'test.sock',
        resource_name: registration.resourceName ?? resourceName,
        options: { pre_start_required: true, get_preferred_allocation_available: true },
      };
      await new Promise<void>((resolve, reject) =>
        client.Register(request, (error) => (error ? reject(error) : resolve())),
      ).finally(() => client.close());
    },
    close: () => server?.forceShutdown(),
  };
  return plugin;
}
