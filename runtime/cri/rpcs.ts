import type { InitOf, MessageOf } from '../base/protobuf.ts';
import type { RpcRow } from '../base/rpc-rows.ts';
import * as container from './messages/container.ts';
import * as image from './messages/image.ts';
import * as runtime from './messages/runtime.ts';
import * as sandbox from './messages/sandbox.ts';
import * as stats from './messages/stats.ts';

const RUNTIME = 'runtime.v1.RuntimeService';
const IMAGE = 'runtime.v1.ImageService';

/** Every RPC of CRI v1 (Kubernetes 1.36). Client methods and server handlers derive from these rows. */
export const CRI_RPCS = [
  {
    service: RUNTIME,
    name: 'Version',
    request: runtime.VersionRequest,
    response: runtime.VersionResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'RunPodSandbox',
    request: sandbox.RunPodSandboxRequest,
    response: sandbox.RunPodSandboxResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'StopPodSandbox',
    request: sandbox.StopPodSandboxRequest,
    response: sandbox.StopPodSandboxResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'RemovePodSandbox',
    request: sandbox.RemovePodSandboxRequest,
    response: sandbox.RemovePodSandboxResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'PodSandboxStatus',
    request: sandbox.PodSandboxStatusRequest,
    response: runtime.PodSandboxStatusResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'ListPodSandbox',
    request: sandbox.ListPodSandboxRequest,
    response: sandbox.ListPodSandboxResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'StreamPodSandboxes',
    request: sandbox.StreamPodSandboxesRequest,
    response: sandbox.StreamPodSandboxesResponse,
    isStream: true,
  },
  {
    service: RUNTIME,
    name: 'CreateContainer',
    request: container.CreateContainerRequest,
    response: container.CreateContainerResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'StartContainer',
    request: container.StartContainerRequest,
    response: container.StartContainerResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'StopContainer',
    request: container.StopContainerRequest,
    response: container.StopContainerResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'RemoveContainer',
    request: container.RemoveContainerRequest,
    response: container.RemoveContainerResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'ListContainers',
    request: container.ListContainersRequest,
    response: container.ListContainersResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'StreamContainers',
    request: container.StreamContainersRequest,
    response: container.StreamContainersResponse,
    isStream: true,
  },
  {
    service: RUNTIME,
    name: 'ContainerStatus',
    request: container.ContainerStatusRequest,
    response: container.ContainerStatusResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'UpdateContainerResources',
    request: container.UpdateContainerResourcesRequest,
    response: container.UpdateContainerResourcesResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'ReopenContainerLog',
    request: container.ReopenContainerLogRequest,
    response: container.ReopenContainerLogResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'ExecSync',
    request: container.ExecSyncRequest,
    response: container.ExecSyncResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'Exec',
    request: container.ExecRequest,
    response: container.ExecResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'Attach',
    request: container.AttachRequest,
    response: container.AttachResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'PortForward',
    request: sandbox.PortForwardRequest,
    response: sandbox.PortForwardResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'ContainerStats',
    request: stats.ContainerStatsRequest,
    response: stats.ContainerStatsResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'ListContainerStats',
    request: stats.ListContainerStatsRequest,
    response: stats.ListContainerStatsResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'StreamContainerStats',
    request: stats.StreamContainerStatsRequest,
    response: stats.StreamContainerStatsResponse,
    isStream: true,
  },
  {
    service: RUNTIME,
    name: 'PodSandboxStats',
    request: stats.PodSandboxStatsRequest,
    response: stats.PodSandboxStatsResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'ListPodSandboxStats',
    request: stats.ListPodSandboxStatsRequest,
    response: stats.ListPodSandboxStatsResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'StreamPodSandboxStats',
    request: stats.StreamPodSandboxStatsRequest,
    response: stats.StreamPodSandboxStatsResponse,
    isStream: true,
  },
  {
    service: RUNTIME,
    name: 'UpdateRuntimeConfig',
    request: runtime.UpdateRuntimeConfigRequest,
    response: runtime.UpdateRuntimeConfigResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'Status',
    request: runtime.StatusRequest,
    response: runtime.StatusResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'CheckpointContainer',
    request: container.CheckpointContainerRequest,
    response: container.CheckpointContainerResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'GetContainerEvents',
    request: runtime.GetEventsRequest,
    response: runtime.ContainerEventResponse,
    isStream: true,
  },
  {
    service: RUNTIME,
    name: 'ListMetricDescriptors',
    request: runtime.ListMetricDescriptorsRequest,
    response: runtime.ListMetricDescriptorsResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'ListPodSandboxMetrics',
    request: runtime.ListPodSandboxMetricsRequest,
    response: runtime.ListPodSandboxMetricsResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'StreamPodSandboxMetrics',
    request: runtime.StreamPodSandboxMetricsRequest,
    response: runtime.StreamPodSandboxMetricsResponse,
    isStream: true,
  },
  {
    service: RUNTIME,
    name: 'RuntimeConfig',
    request: runtime.RuntimeConfigRequest,
    response: runtime.RuntimeConfigResponse,
    isStream: false,
  },
  {
    service: RUNTIME,
    name: 'UpdatePodSandboxResources',
    request: sandbox.UpdatePodSandboxResourcesRequest,
    response: sandbox.UpdatePodSandboxResourcesResponse,
    isStream: false,
  },
  {
    service: IMAGE,
    name: 'ListImages',
    request: image.ListImagesRequest,
    response: image.ListImagesResponse,
    isStream: false,
  },
  {
    service: IMAGE,
    name: 'StreamImages',
    request: image.StreamImagesRequest,
    response: image.StreamImagesResponse,
    isStream: true,
  },
  {
    service: IMAGE,
    name: 'ImageStatus',
    request: image.ImageStatusRequest,
    response: image.ImageStatusResponse,
    isStream: false,
  },
  {
    service: IMAGE,
    name: 'PullImage',
    request: image.PullImageRequest,
    response: image.PullImageResponse,
    isStream: false,
  },
  {
    service: IMAGE,
    name: 'RemoveImage',
    request: image.RemoveImageRequest,
    response: image.RemoveImageResponse,
    isStream: false,
  },
  {
    service: IMAGE,
    name: 'ImageFsInfo',
    request: image.ImageFsInfoRequest,
    response: image.ImageFsInfoResponse,
    isStream: false,
  },
] as const satisfies readonly RpcRow[];

export type CriRpc = (typeof CRI_RPCS)[number];
/** "runPodSandbox": the RPC's name with a small first letter. */
export type CriMethod = Uncapitalize<CriRpc['name']>;
export type CriRow<M extends CriMethod> = Extract<CriRpc, { readonly name: Capitalize<M> }>;
export type CriRequestInit<M extends CriMethod> = InitOf<CriRow<M>['request']>;
export type CriResponse<M extends CriMethod> = MessageOf<CriRow<M>['response']>;
