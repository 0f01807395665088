import {
  anything,
  duration,
  fields,
  flag,
  integer,
  list,
  map,
  number,
  object,
  taints,
  text,
} from './schema-parts.ts';

/** k8s.io/component-base/logs/api/v1 LoggingConfiguration; `flushFrequency` is a duration or nanoseconds. */
const logging = object({
  format: text,
  flushFrequency: anything,
  verbosity: integer,
  vmodule: list(object({ filePattern: text, verbosity: integer })),
  options: object({ text: map(anything), json: map(anything) }),
});

/** Fields of a KubeletConfiguration, by type (k8s.io/kubelet/config/v1beta1). */
export const KUBELET_SCHEMA = object({
  ...fields(
    flag,
    `enableServer rotateCertificates serverTLSBootstrap enableDebuggingHandlers enableContentionProfiling
    cgroupsPerQOS singleProcessOOMKill runOnce cpuCFSQuota serializeImagePulls mergeDefaultEvictionSettings
    enableControllerAttachDetach protectKernelDefaults makeIPTablesUtilChains failSwapOn
    kernelMemcgNotification enableSystemLogHandler enableSystemLogQuery enableProfilingHandler
    enableDebugFlagsHandler seccompDefault registerNode localStorageCapacityIsolation failCgroupV1`,
  ),
  ...fields(
    integer,
    `port readOnlyPort registryPullQPS registryBurst eventRecordQPS eventBurst healthzPort oomScoreAdj
    nodeLeaseDurationSeconds imageGCHighThresholdPercent imageGCLowThresholdPercent maxPods podPidsLimit
    nodeStatusMaxImages maxOpenFiles kubeAPIQPS kubeAPIBurst maxParallelImagePulls evictionMaxPodGracePeriod
    podsPerCore iptablesMasqueradeBit iptablesDropBit containerLogMaxFiles containerLogMaxWorkers`,
  ),
  ...fields(
    text,
    `staticPodPath podLogsDir staticPodURL address tlsCertFile tlsPrivateKeyFile tlsMinVersion
    imagePullCredentialsVerificationPolicy healthzBindAddress clusterDomain kubeletCgroups systemCgroups
    cgroupRoot cgroupDriver cpuManagerPolicy memoryManagerPolicy topologyManagerPolicy topologyManagerScope
    hairpinMode podCIDR resolvConf contentType containerLogMaxSize configMapAndSecretChangeDetectionStrategy
    reservedSystemCPUs showHiddenMetricsForVersion systemReservedCgroup kubeReservedCgroup volumePluginDir
    providerID memoryReservationPolicy containerRuntimeEndpoint imageServiceEndpoint`,
  ),
  ...fields(
    duration,
    `syncFrequency fileCheckFrequency httpCheckFrequency streamingConnectionIdleTimeout
    nodeStatusUpdateFrequency nodeStatusReportFrequency imageMinimumGCAge imageMaximumGCAge
    volumeStatsAggPeriod cpuManagerReconcilePeriod draManagerReconcilePeriod runtimeRequestTimeout
    cpuCFSQuotaPeriod evictionPressureTransitionPeriod containerLogMonitorInterval shutdownGracePeriod
    shutdownGracePeriodCriticalPods`,
  ),
  ...fields(
    list(text),
    `tlsCipherSuites preloadedImagesVerificationAllowlist clusterDNS enforceNodeAllocatable
    allowedUnsafeSysctls`,
  ),
  ...fields(
    map(text),
    `cpuManagerPolicyOptions topologyManagerPolicyOptions qosReserved evictionHard evictionSoft
    evictionSoftGracePeriod evictionMinimumReclaim systemReserved kubeReserved`,
  ),
  staticPodURLHeader: map(list(text)),
  tlsCurvePreferences: list(integer),
  featureGates: map(flag),
  memoryThrottlingFactor: number,
  authentication: object({
    x509: object({ clientCAFile: text }),
    webhook: object({ enabled: flag, cacheTTL: duration }),
    anonymous: object({ enabled: flag }),
  }),
  authorization: object({
    mode: text,
    webhook: object({ cacheAuthorizedTTL: duration, cacheUnauthorizedTTL: duration }),
  }),
  memorySwap: object({ swapBehavior: text }),
  crashLoopBackOff: object({ maxContainerRestartPeriod: duration }),
  userNamespaces: object({ idsPerPod: integer }),
  shutdownGracePeriodByPodPriority: list(object({ priority: integer, shutdownGracePeriodSeconds: integer })),
  reservedMemory: list(object({ numaNode: integer, limits: map(anything) })),
  registerWithTaints: taints,
  logging,
  tracing: object({ endpoint: text, samplingRatePerMillion: integer }),
});

const masquerade = {
  masqueradeBit: integer,
  masqueradeAll: flag,
  syncPeriod: duration,
  minSyncPeriod: duration,
};

/** Fields of a KubeProxyConfiguration (k8s.io/kube-proxy/config/v1alpha1). */
export const KUBE_PROXY_SCHEMA = object({
  featureGates: map(flag),
  clientConnection: object({
    ...fields(text, 'kubeconfig acceptContentTypes contentType'),
    qps: number,
    burst: integer,
  }),
  logging,
  ...fields(
    text,
    `hostnameOverride bindAddress healthzBindAddress metricsBindAddress showHiddenMetricsForVersion mode
    detectLocalMode clusterCIDR portRange`,
  ),
  ...fields(flag, 'bindAddressHardFail enableProfiling windowsRunAsService'),
  iptables: object({ ...masquerade, localhostNodePorts: flag, snatNodeInternalIP: flag }),
  ipvs: object({
    ...fields(duration, 'syncPeriod minSyncPeriod tcpTimeout tcpFinTimeout udpTimeout'),
    scheduler: text,
    excludeCIDRs: list(text),
    strictARP: flag,
  }),
  nftables: object(masquerade),
  winkernel: object({
    ...fields(text, 'networkName sourceVip rootHnsEndpointName'),
    ...fields(flag, 'enableDSR forwardHealthCheckVip'),
  }),
  detectLocal: object({ bridgeInterface: text, interfaceNamePrefix: text }),
  nodePortAddresses: list(text),
  oomScoreAdj: integer,
  conntrack: object({
    ...fields(integer, 'maxPerCore min'),
    ...fields(duration, 'tcpEstablishedTimeout tcpCloseWaitTimeout udpTimeout udpStreamTimeout'),
    tcpBeLiberal: flag,
  }),
  configSyncPeriod: duration,
});
