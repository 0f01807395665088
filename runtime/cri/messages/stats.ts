import type { MessageOf } from '../../base/protobuf.ts';
import { map, message, repeated } from '../../base/protobuf.ts';
import { ContainerMetadata } from './container.ts';
import { FilesystemUsage } from './image.ts';
import { PodSandboxMetadata } from './sandbox.ts';
import { UInt64Value } from './values.ts';

// CRI v1: resource usage of containers and sandboxes.

export const PsiData = message({
  total: [1, 'uint64'],
  avg10: [2, 'double'],
  avg60: [3, 'double'],
  avg300: [4, 'double'],
});
export const PsiStats = message({ full: [1, PsiData], some: [2, PsiData] });

export const CpuUsage = message({
  timestamp: [1, 'int64n'],
  usageCoreNanoSeconds: [2, UInt64Value],
  usageNanoCores: [3, UInt64Value],
  psi: [4, PsiStats],
});
export type CpuUsage = MessageOf<typeof CpuUsage>;

export const MemoryUsage = message({
  timestamp: [1, 'int64n'],
  workingSetBytes: [2, UInt64Value],
  availableBytes: [3, UInt64Value],
  usageBytes: [4, UInt64Value],
  rssBytes: [5, UInt64Value],
  pageFaults: [6, UInt64Value],
  majorPageFaults: [7, UInt64Value],
  psi: [8, PsiStats],
});
export type MemoryUsage = MessageOf<typeof MemoryUsage>;

export const IoUsage = message({ timestamp: [1, 'int64n'], psi: [2, PsiStats] });

export const SwapUsage = message({
  timestamp: [1, 'int64n'],
  swapAvailableBytes: [2, UInt64Value],
  swapUsageBytes: [3, UInt64Value],
});

export const NetworkInterfaceUsage = message({
  name: [1, 'string'],
  rxBytes: [2, UInt64Value],
  rxErrors: [3, UInt64Value],
  txBytes: [4, UInt64Value],
  txErrors: [5, UInt64Value],
});
export type NetworkInterfaceUsage = MessageOf<typeof NetworkInterfaceUsage>;

export const NetworkUsage = message({
  timestamp: [1, 'int64n'],
  defaultInterface: [2, NetworkInterfaceUsage],
  interfaces: [3, repeated(NetworkInterfaceUsage)],
});
export type NetworkUsage = MessageOf<typeof NetworkUsage>;

export const ProcessUsage = message({ timestamp: [1, 'int64n'], processCount: [2, UInt64Value] });

export const ContainerAttributes = message({
  id: [1, 'string'],
  metadata: [2, ContainerMetadata],
  labels: [3, map('string', 'string')],
  annotations: [4, map('string', 'string')],
});

export const ContainerStats = message({
  attributes: [1, ContainerAttributes],
  cpu: [2, CpuUsage],
  memory: [3, MemoryUsage],
  writableLayer: [4, FilesystemUsage],
  swap: [5, SwapUsage],
  io: [6, IoUsage],
});
export type ContainerStats = MessageOf<typeof ContainerStats>;

export const ContainerStatsRequest = message({ containerId: [1, 'string'] });
export const ContainerStatsResponse = message({ stats: [1, ContainerStats] });

export const ContainerStatsFilter = message({
  id: [1, 'string'],
  podSandboxId: [2, 'string'],
  labelSelector: [3, map('string', 'string')],
});
export type ContainerStatsFilter = MessageOf<typeof ContainerStatsFilter>;

export const ListContainerStatsRequest = message({ filter: [1, ContainerStatsFilter] });
export const ListContainerStatsResponse = message({ stats: [1, repeated(ContainerStats)] });
export const StreamContainerStatsRequest = message({ filter: [1, ContainerStatsFilter] });
export const StreamContainerStatsResponse = message({ containerStats: [1, repeated(ContainerStats)] });

export const PodSandboxAttributes = message({
  id: [1, 'string'],
  metadata: [2, PodSandboxMetadata],
  labels: [3, map('string', 'string')],
  annotations: [4, map('string', 'string')],
});

export const LinuxPodSandboxStats = message({
  cpu: [1, CpuUsage],
  memory: [2, MemoryUsage],
  network: [3, NetworkUsage],
  process: [4, ProcessUsage],
  containers: [5, repeated(ContainerStats)],
  io: [6, IoUsage],
});

export const PodSandboxStats = message({
  attributes: [1, PodSandboxAttributes],
  linux: [2, LinuxPodSandboxStats],
});
export type PodSandboxStats = MessageOf<typeof PodSandboxStats>;

export const PodSandboxStatsRequest = message({ podSandboxId: [1, 'string'] });
export const PodSandboxStatsResponse = message({ stats: [1, PodSandboxStats] });
export const PodSandboxStatsFilter = message({
  id: [1, 'string'],
  labelSelector: [2, map('string', 'string')],
});
export type PodSandboxStatsFilter = MessageOf<typeof PodSandboxStatsFilter>;
export const ListPodSandboxStatsRequest = message({ filter: [1, PodSandboxStatsFilter] });
export const ListPodSandboxStatsResponse = message({ stats: [1, repeated(PodSandboxStats)] });
export const StreamPodSandboxStatsRequest = message({ filter: [1, PodSandboxStatsFilter] });
export const StreamPodSandboxStatsResponse = message({ podSandboxStats: [1, repeated(PodSandboxStats)] });
