import type { MessageOf } from '../../base/protobuf.ts';
import { enumeration, map, message, repeated } from '../../base/protobuf.ts';
import { ContainerStatus } from './container.ts';
import { PodSandboxStatus } from './sandbox.ts';
import { UInt64Value } from './values.ts';

// CRI v1: the runtime itself, events and metrics.

export const VersionRequest = message({ version: [1, 'string'] });
export const VersionResponse = message({
  version: [1, 'string'],
  runtimeName: [2, 'string'],
  runtimeVersion: [3, 'string'],
  runtimeApiVersion: [4, 'string'],
});

/** It holds container statuses, which is why it is here and not with the sandboxes. */
export const PodSandboxStatusResponse = message({
  status: [1, PodSandboxStatus],
  info: [2, map('string', 'string')],
  containersStatuses: [3, repeated(ContainerStatus)],
  timestamp: [4, 'int64n'],
});

export const NetworkConfig = message({ podCidr: [1, 'string'] });
export const RuntimeConfig = message({ networkConfig: [1, NetworkConfig] });
export const UpdateRuntimeConfigRequest = message({ runtimeConfig: [1, RuntimeConfig] });
export const UpdateRuntimeConfigResponse = message({});

export const RuntimeCondition = message({
  type: [1, 'string'],
  status: [2, 'bool'],
  reason: [3, 'string'],
  message: [4, 'string'],
});
export type RuntimeCondition = MessageOf<typeof RuntimeCondition>;

export const RuntimeStatus = message({ conditions: [1, repeated(RuntimeCondition)] });
export const StatusRequest = message({ verbose: [1, 'bool'] });
export const RuntimeHandlerFeatures = message({
  recursiveReadOnlyMounts: [1, 'bool'],
  userNamespaces: [2, 'bool'],
});
export const RuntimeHandler = message({ name: [1, 'string'], features: [2, RuntimeHandlerFeatures] });
export const RuntimeFeatures = message({
  supplementalGroupsPolicy: [1, 'bool'],
  userNamespacesHostNetwork: [2, 'bool'],
});
export const StatusResponse = message({
  status: [1, RuntimeStatus],
  info: [2, map('string', 'string')],
  runtimeHandlers: [3, repeated(RuntimeHandler)],
  features: [4, RuntimeFeatures],
});

export const ContainerEventType = enumeration(
  'CONTAINER_CREATED_EVENT',
  'CONTAINER_STARTED_EVENT',
  'CONTAINER_STOPPED_EVENT',
  'CONTAINER_DELETED_EVENT',
);
export type ContainerEventType = (typeof ContainerEventType.names)[number];

export const GetEventsRequest = message({});
export const ContainerEventResponse = message({
  containerId: [1, 'string'],
  containerEventType: [2, ContainerEventType],
  createdAt: [3, 'int64n'],
  podSandboxStatus: [4, PodSandboxStatus],
  containersStatuses: [5, repeated(ContainerStatus)],
});
export type ContainerEventResponse = MessageOf<typeof ContainerEventResponse>;

export const CgroupDriver = enumeration('SYSTEMD', 'CGROUPFS');
export const LinuxRuntimeConfiguration = message({ cgroupDriver: [1, CgroupDriver] });
export const RuntimeConfigRequest = message({});
export const RuntimeConfigResponse = message({ linux: [1, LinuxRuntimeConfiguration] });

export const ListMetricDescriptorsRequest = message({});
export const MetricDescriptor = message({
  name: [1, 'string'],
  help: [2, 'string'],
  labelKeys: [3, repeated('string')],
});
export const ListMetricDescriptorsResponse = message({ descriptors: [1, repeated(MetricDescriptor)] });

export const MetricType = enumeration('COUNTER', 'GAUGE');
export const Metric = message({
  name: [1, 'string'],
  timestamp: [2, 'int64n'],
  metricType: [3, MetricType],
  labelValues: [4, repeated('string')],
  value: [5, UInt64Value],
});
export const ContainerMetrics = message({ containerId: [1, 'string'], metrics: [2, repeated(Metric)] });
export const PodSandboxMetrics = message({
  podSandboxId: [1, 'string'],
  metrics: [2, repeated(Metric)],
  containerMetrics: [3, repeated(ContainerMetrics)],
});
export const ListPodSandboxMetricsRequest = message({});
export const ListPodSandboxMetricsResponse = message({ podMetrics: [1, repeated(PodSandboxMetrics)] });
export const StreamPodSandboxMetricsRequest = message({});
export const StreamPodSandboxMetricsResponse = message({
  podSandboxMetrics: [1, repeated(PodSandboxMetrics)],
});
