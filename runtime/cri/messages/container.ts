import type { MessageOf } from '../../base/protobuf.ts';
import { enumeration, map, message, repeated } from '../../base/protobuf.ts';
import { ImageSpec } from './image.ts';
import { IDMapping, LinuxContainerConfig, LinuxContainerResources, LinuxContainerUser } from './linux.ts';
import { PodSandboxConfig } from './sandbox.ts';
import { Signal } from './signal.ts';
import { KeyValue } from './values.ts';

// CRI v1: containers, exec and attach. Windows fields are left out: they are skipped on decode.

export const MountPropagation = enumeration(
  'PROPAGATION_PRIVATE',
  'PROPAGATION_HOST_TO_CONTAINER',
  'PROPAGATION_BIDIRECTIONAL',
);

export const Mount = message({
  containerPath: [1, 'string'],
  hostPath: [2, 'string'],
  readonly: [3, 'bool'],
  selinuxRelabel: [4, 'bool'],
  propagation: [5, MountPropagation],
  uidMappings: [6, repeated(IDMapping)],
  gidMappings: [7, repeated(IDMapping)],
  recursiveReadOnly: [8, 'bool'],
  image: [9, ImageSpec],
  imageSubPath: [10, 'string'],
});
export type Mount = MessageOf<typeof Mount>;

export const ContainerMetadata = message({ name: [1, 'string'], attempt: [2, 'uint32'] });
export type ContainerMetadata = MessageOf<typeof ContainerMetadata>;

export const Device = message({
  containerPath: [1, 'string'],
  hostPath: [2, 'string'],
  permissions: [3, 'string'],
});
export type Device = MessageOf<typeof Device>;

export const CDIDevice = message({ name: [1, 'string'] });

export const ContainerConfig = message({
  metadata: [1, ContainerMetadata],
  image: [2, ImageSpec],
  command: [3, repeated('string')],
  args: [4, repeated('string')],
  workingDir: [5, 'string'],
  envs: [6, repeated(KeyValue)],
  mounts: [7, repeated(Mount)],
  devices: [8, repeated(Device)],
  labels: [9, map('string', 'string')],
  annotations: [10, map('string', 'string')],
  logPath: [11, 'string'],
  stdin: [12, 'bool'],
  stdinOnce: [13, 'bool'],
  tty: [14, 'bool'],
  linux: [15, LinuxContainerConfig],
  cdiDevices: [17, repeated(CDIDevice)],
  stopSignal: [18, Signal],
});
export type ContainerConfig = MessageOf<typeof ContainerConfig>;

export const CreateContainerRequest = message({
  podSandboxId: [1, 'string'],
  config: [2, ContainerConfig],
  sandboxConfig: [3, PodSandboxConfig],
});
export const CreateContainerResponse = message({ containerId: [1, 'string'] });
export const StartContainerRequest = message({ containerId: [1, 'string'] });
export const StartContainerResponse = message({});
/** `timeout` in seconds. */
export const StopContainerRequest = message({ containerId: [1, 'string'], timeout: [2, 'int64'] });
export const StopContainerResponse = message({});
export const RemoveContainerRequest = message({ containerId: [1, 'string'] });
export const RemoveContainerResponse = message({});

export const ContainerState = enumeration(
  'CONTAINER_CREATED',
  'CONTAINER_RUNNING',
  'CONTAINER_EXITED',
  'CONTAINER_UNKNOWN',
);
export type ContainerState = (typeof ContainerState.names)[number];

export const ContainerStateValue = message({ state: [1, ContainerState] });

export const ContainerFilter = message({
  id: [1, 'string'],
  state: [2, ContainerStateValue],
  podSandboxId: [3, 'string'],
  labelSelector: [4, map('string', 'string')],
});
export type ContainerFilter = MessageOf<typeof ContainerFilter>;

export const ListContainersRequest = message({ filter: [1, ContainerFilter] });

export const Container = message({
  id: [1, 'string'],
  podSandboxId: [2, 'string'],
  metadata: [3, ContainerMetadata],
  image: [4, ImageSpec],
  imageRef: [5, 'string'],
  state: [6, ContainerState],
  createdAt: [7, 'int64n'],
  labels: [8, map('string', 'string')],
  annotations: [9, map('string', 'string')],
  imageId: [10, 'string'],
});
export type Container = MessageOf<typeof Container>;

export const ListContainersResponse = message({ containers: [1, repeated(Container)] });
export const StreamContainersRequest = message({ filter: [1, ContainerFilter] });
export const StreamContainersResponse = message({ containers: [1, repeated(Container)] });
export const ContainerStatusRequest = message({ containerId: [1, 'string'], verbose: [2, 'bool'] });

export const ContainerResources = message({ linux: [1, LinuxContainerResources] });
export const ContainerUser = message({ linux: [1, LinuxContainerUser] });

export const ContainerStatus = message({
  id: [1, 'string'],
  metadata: [2, ContainerMetadata],
  state: [3, ContainerState],
  createdAt: [4, 'int64n'],
  startedAt: [5, 'int64n'],
  finishedAt: [6, 'int64n'],
  exitCode: [7, 'int32'],
  image: [8, ImageSpec],
  imageRef: [9, 'string'],
  reason: [10, 'string'],
  message: [11, 'string'],
  labels: [12, map('string', 'string')],
  annotations: [13, map('string', 'string')],
  mounts: [14, repeated(Mount)],
  logPath: [15, 'string'],
  resources: [16, ContainerResources],
  imageId: [17, 'string'],
  user: [18, ContainerUser],
  stopSignal: [19, Signal],
});
export type ContainerStatus = MessageOf<typeof ContainerStatus>;

export const ContainerStatusResponse = message({
  status: [1, ContainerStatus],
  info: [2, map('string', 'string')],
});

export const UpdateContainerResourcesRequest = message({
  containerId: [1, 'string'],
  linux: [2, LinuxContainerResources],
  annotations: [4, map('string', 'string')],
});
export const UpdateContainerResourcesResponse = message({});
/** `timeout` in seconds, 0 waits for ever. */
export const ExecSyncRequest = message({
  containerId: [1, 'string'],
  cmd: [2, repeated('string')],
  timeout: [3, 'int64'],
});
export const ExecSyncResponse = message({
  stdout: [1, 'bytes'],
  stderr: [2, 'bytes'],
  exitCode: [3, 'int32'],
});
export const ExecRequest = message({
  containerId: [1, 'string'],
  cmd: [2, repeated('string')],
  tty: [3, 'bool'],
  stdin: [4, 'bool'],
  stdout: [5, 'bool'],
  stderr: [6, 'bool'],
  auditRequestId: [7, 'string'],
});
export type ExecRequest = MessageOf<typeof ExecRequest>;
export const ExecResponse = message({ url: [1, 'string'] });
export const AttachRequest = message({
  containerId: [1, 'string'],
  stdin: [2, 'bool'],
  tty: [3, 'bool'],
  stdout: [4, 'bool'],
  stderr: [5, 'bool'],
  auditRequestId: [6, 'string'],
});
export type AttachRequest = MessageOf<typeof AttachRequest>;
export const AttachResponse = message({ url: [1, 'string'] });
export const ReopenContainerLogRequest = message({ containerId: [1, 'string'] });
export const ReopenContainerLogResponse = message({});
export const CheckpointContainerRequest = message({
  containerId: [1, 'string'],
  location: [2, 'string'],
  timeout: [3, 'int64'],
});
export const CheckpointContainerResponse = message({});
