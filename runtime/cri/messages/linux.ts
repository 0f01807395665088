import type { MessageOf } from '../../base/protobuf.ts';
import { enumeration, map, message, repeated } from '../../base/protobuf.ts';
import { Int64Value, SupplementalGroupsPolicy } from './values.ts';

// CRI v1: namespaces, resources and security of Linux sandboxes and containers.

export const IDMapping = message({
  hostId: [1, 'uint32'],
  containerId: [2, 'uint32'],
  length: [3, 'uint32'],
});

export const NamespaceMode = enumeration('POD', 'CONTAINER', 'NODE', 'TARGET');
export type NamespaceMode = (typeof NamespaceMode.names)[number];

export const UserNamespace = message({
  mode: [1, NamespaceMode],
  uids: [2, repeated(IDMapping)],
  gids: [3, repeated(IDMapping)],
});

export const NamespaceOption = message({
  network: [1, NamespaceMode],
  pid: [2, NamespaceMode],
  ipc: [3, NamespaceMode],
  targetId: [4, 'string'],
  usernsOptions: [5, UserNamespace],
});
export type NamespaceOption = MessageOf<typeof NamespaceOption>;

export const ProfileType = enumeration('RuntimeDefault', 'Unconfined', 'Localhost');

export const SecurityProfile = message({ profileType: [1, ProfileType], localhostRef: [2, 'string'] });
export type SecurityProfile = MessageOf<typeof SecurityProfile>;

export const SELinuxOption = message({
  user: [1, 'string'],
  role: [2, 'string'],
  type: [3, 'string'],
  level: [4, 'string'],
});

export const HugepageLimit = message({ pageSize: [1, 'string'], limit: [2, 'uint64'] });

export const LinuxContainerResources = message({
  cpuPeriod: [1, 'int64'],
  cpuQuota: [2, 'int64'],
  cpuShares: [3, 'int64'],
  memoryLimitInBytes: [4, 'int64'],
  oomScoreAdj: [5, 'int64'],
  cpusetCpus: [6, 'string'],
  cpusetMems: [7, 'string'],
  hugepageLimits: [8, repeated(HugepageLimit)],
  unified: [9, map('string', 'string')],
  memorySwapLimitInBytes: [10, 'int64'],
});
export type LinuxContainerResources = MessageOf<typeof LinuxContainerResources>;

export const Capability = message({
  addCapabilities: [1, repeated('string')],
  dropCapabilities: [2, repeated('string')],
  addAmbientCapabilities: [3, repeated('string')],
});
export type Capability = MessageOf<typeof Capability>;

export const LinuxContainerSecurityContext = message({
  capabilities: [1, Capability],
  privileged: [2, 'bool'],
  namespaceOptions: [3, NamespaceOption],
  selinuxOptions: [4, SELinuxOption],
  runAsUser: [5, Int64Value],
  runAsUsername: [6, 'string'],
  readonlyRootfs: [7, 'bool'],
  supplementalGroups: [8, repeated('int64')],
  apparmorProfile: [9, 'string'],
  seccompProfilePath: [10, 'string'],
  noNewPrivs: [11, 'bool'],
  runAsGroup: [12, Int64Value],
  maskedPaths: [13, repeated('string')],
  readonlyPaths: [14, repeated('string')],
  seccomp: [15, SecurityProfile],
  apparmor: [16, SecurityProfile],
  supplementalGroupsPolicy: [17, SupplementalGroupsPolicy],
});
export type LinuxContainerSecurityContext = MessageOf<typeof LinuxContainerSecurityContext>;

export const LinuxContainerConfig = message({
  resources: [1, LinuxContainerResources],
  securityContext: [2, LinuxContainerSecurityContext],
});
export type LinuxContainerConfig = MessageOf<typeof LinuxContainerConfig>;

export const LinuxContainerUser = message({
  uid: [1, 'int64'],
  gid: [2, 'int64'],
  supplementalGroups: [3, repeated('int64')],
});
