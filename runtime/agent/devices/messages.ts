import { map, message, repeated } from '../../base/protobuf.ts';
import type { RpcRow } from '../../base/rpc-rows.ts';

/** The one version of the device plugin API that there is (k8s.io/kubelet deviceplugin/v1beta1). */
export const DEVICE_PLUGIN_VERSION = 'v1beta1';

const Empty = message({});

export const DevicePluginOptions = message({
  preStartRequired: [1, 'bool'],
  getPreferredAllocationAvailable: [2, 'bool'],
});

export const RegisterRequest = message({
  version: [1, 'string'],
  endpoint: [2, 'string'],
  resourceName: [3, 'string'],
  options: [4, DevicePluginOptions],
});

const NumaNode = message({ id: [1, 'int64'] });
const TopologyInfo = message({ nodes: [1, repeated(NumaNode)] });

/** `health` is "Healthy" or "Unhealthy". */
const Device = message({ id: [1, 'string'], health: [2, 'string'], topology: [3, TopologyInfo] });
const ListAndWatchResponse = message({ devices: [1, repeated(Device)] });

const PreferredAllocationRequest = message({
  containerRequests: [
    1,
    repeated(
      message({
        availableDeviceIds: [1, repeated('string')],
        mustIncludeDeviceIds: [2, repeated('string')],
        allocationSize: [3, 'int32'],
      }),
    ),
  ],
});
const PreferredAllocationResponse = message({
  containerResponses: [1, repeated(message({ deviceIds: [1, repeated('string')] }))],
});

const AllocateRequest = message({
  containerRequests: [1, repeated(message({ deviceIds: [1, repeated('string')] }))],
});

/** What a container gets with its devices. */
export const ContainerAllocateResponse = message({
  envs: [1, map('string', 'string')],
  mounts: [
    2,
    repeated(message({ containerPath: [1, 'string'], hostPath: [2, 'string'], readOnly: [3, 'bool'] })),
  ],
  devices: [
    3,
    repeated(message({ containerPath: [1, 'string'], hostPath: [2, 'string'], permissions: [3, 'string'] })),
  ],
  annotations: [4, map('string', 'string')],
  cdiDevices: [5, repeated(message({ name: [1, 'string'] }))],
});
const AllocateResponse = message({ containerResponses: [1, repeated(ContainerAllocateResponse)] });

const PreStartContainerRequest = message({ deviceIds: [1, repeated('string')] });

/** Served by the agent on kubelet.sock. */
export const REGISTRATION_RPCS = [
  {
    service: 'v1beta1.Registration',
    name: 'Register',
    request: RegisterRequest,
    response: Empty,
    isStream: false,
  },
] as const satisfies readonly RpcRow[];

const PLUGIN = 'v1beta1.DevicePlugin';

/** Served by each plugin on its own socket. */
export const DEVICE_PLUGIN_RPCS = [
  {
    service: PLUGIN,
    name: 'GetDevicePluginOptions',
    request: Empty,
    response: DevicePluginOptions,
    isStream: false,
  },
  { service: PLUGIN, name: 'ListAndWatch', request: Empty, response: ListAndWatchResponse, isStream: true },
  {
    service: PLUGIN,
    name: 'GetPreferredAllocation',
    request: PreferredAllocationRequest,
    response: PreferredAllocationResponse,
    isStream: false,
  },
  {
    service: PLUGIN,
    name: 'Allocate',
    request: AllocateRequest,
    response: AllocateResponse,
    isStream: false,
  },
  {
    service: PLUGIN,
    name: 'PreStartContainer',
    request: PreStartContainerRequest,
    response: Empty,
    isStream: false,
  },
] as const satisfies readonly RpcRow[];

export type DevicePluginRpc = (typeof DEVICE_PLUGIN_RPCS)[number];
