import type { MessageOf } from '../../base/protobuf.ts';
import { enumeration, map, message, repeated } from '../../base/protobuf.ts';
import { LinuxContainerResources, NamespaceOption, SELinuxOption, SecurityProfile } from './linux.ts';
import { Int64Value, SupplementalGroupsPolicy } from './values.ts';

// CRI v1 (k8s.io/cri-api runtime.v1): pod sandboxes. Windows fields are left out: they are skipped on decode.

export const DNSConfig = message({
  servers: [1, repeated('string')],
  searches: [2, repeated('string')],
  options: [3, repeated('string')],
});
export type DNSConfig = MessageOf<typeof DNSConfig>;

export const Protocol = enumeration('TCP', 'UDP', 'SCTP');

export const PortMapping = message({
  protocol: [1, Protocol],
  containerPort: [2, 'int32'],
  hostPort: [3, 'int32'],
  hostIp: [4, 'string'],
});
export type PortMapping = MessageOf<typeof PortMapping>;

export const LinuxSandboxSecurityContext = message({
  namespaceOptions: [1, NamespaceOption],
  selinuxOptions: [2, SELinuxOption],
  runAsUser: [3, Int64Value],
  readonlyRootfs: [4, 'bool'],
  supplementalGroups: [5, repeated('int64')],
  privileged: [6, 'bool'],
  seccompProfilePath: [7, 'string'],
  runAsGroup: [8, Int64Value],
  seccomp: [9, SecurityProfile],
  apparmor: [10, SecurityProfile],
  supplementalGroupsPolicy: [11, SupplementalGroupsPolicy],
});
export type LinuxSandboxSecurityContext = MessageOf<typeof LinuxSandboxSecurityContext>;

export const LinuxPodSandboxConfig = message({
  cgroupParent: [1, 'string'],
  securityContext: [2, LinuxSandboxSecurityContext],
  sysctls: [3, map('string', 'string')],
  overhead: [4, LinuxContainerResources],
  resources: [5, LinuxContainerResources],
});
export type LinuxPodSandboxConfig = MessageOf<typeof LinuxPodSandboxConfig>;

export const PodSandboxMetadata = message({
  name: [1, 'string'],
  uid: [2, 'string'],
  namespace: [3, 'string'],
  attempt: [4, 'uint32'],
});
export type PodSandboxMetadata = MessageOf<typeof PodSandboxMetadata>;

export const PodSandboxConfig = message({
  metadata: [1, PodSandboxMetadata],
  hostname: [2, 'string'],
  logDirectory: [3, 'string'],
  dnsConfig: [4, DNSConfig],
  portMappings: [5, repeated(PortMapping)],
  labels: [6, map('string', 'string')],
  annotations: [7, map('string', 'string')],
  linux: [8, LinuxPodSandboxConfig],
});
export type PodSandboxConfig = MessageOf<typeof PodSandboxConfig>;

export const RunPodSandboxRequest = message({
  config: [1, PodSandboxConfig],
  runtimeHandler: [2, 'string'],
});
export const RunPodSandboxResponse = message({ podSandboxId: [1, 'string'] });
export const StopPodSandboxRequest = message({ podSandboxId: [1, 'string'] });
export const StopPodSandboxResponse = message({});
export const RemovePodSandboxRequest = message({ podSandboxId: [1, 'string'] });
export const RemovePodSandboxResponse = message({});
export const PodSandboxStatusRequest = message({ podSandboxId: [1, 'string'], verbose: [2, 'bool'] });

export const PodIP = message({ ip: [1, 'string'] });

export const PodSandboxNetworkStatus = message({ ip: [1, 'string'], additionalIps: [2, repeated(PodIP)] });
export type PodSandboxNetworkStatus = MessageOf<typeof PodSandboxNetworkStatus>;

export const Namespace = message({ options: [2, NamespaceOption] });
export const LinuxPodSandboxStatus = message({ namespaces: [1, Namespace] });

export const PodSandboxState = enumeration('SANDBOX_READY', 'SANDBOX_NOTREADY');
export type PodSandboxState = (typeof PodSandboxState.names)[number];

export const PodSandboxStatus = message({
  id: [1, 'string'],
  metadata: [2, PodSandboxMetadata],
  state: [3, PodSandboxState],
  createdAt: [4, 'int64n'],
  network: [5, PodSandboxNetworkStatus],
  linux: [6, LinuxPodSandboxStatus],
  labels: [7, map('string', 'string')],
  annotations: [8, map('string', 'string')],
  runtimeHandler: [9, 'string'],
});
export type PodSandboxStatus = MessageOf<typeof PodSandboxStatus>;

export const PodSandboxStateValue = message({ state: [1, PodSandboxState] });

export const PodSandboxFilter = message({
  id: [1, 'string'],
  state: [2, PodSandboxStateValue],
  labelSelector: [3, map('string', 'string')],
});
export type PodSandboxFilter = MessageOf<typeof PodSandboxFilter>;

export const ListPodSandboxRequest = message({ filter: [1, PodSandboxFilter] });

export const PodSandbox = message({
  id: [1, 'string'],
  metadata: [2, PodSandboxMetadata],
  state: [3, PodSandboxState],
  createdAt: [4, 'int64n'],
  labels: [5, map('string', 'string')],
  annotations: [6, map('string', 'string')],
  runtimeHandler: [7, 'string'],
});
export type PodSandbox = MessageOf<typeof PodSandbox>;

export const ListPodSandboxResponse = message({ items: [1, repeated(PodSandbox)] });
export const StreamPodSandboxesRequest = message({ filter: [1, PodSandboxFilter] });
export const StreamPodSandboxesResponse = message({ podSandboxes: [1, repeated(PodSandbox)] });

export const UpdatePodSandboxResourcesRequest = message({
  podSandboxId: [1, 'string'],
  overhead: [2, LinuxContainerResources],
  resources: [3, LinuxContainerResources],
});
export const UpdatePodSandboxResourcesResponse = message({});
export const PortForwardRequest = message({ podSandboxId: [1, 'string'], port: [2, repeated('int32')] });
export const PortForwardResponse = message({ url: [1, 'string'] });
