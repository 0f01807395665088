import { type UnfollowedField, unfollowed } from '../base/unfollowed-fields.ts';

/** Fields of a KubeletConfiguration that the agent follows, dotted where only a part of one is. */
export const FOLLOWED_FIELDS: readonly string[] = [
  ...['staticPodPath', 'fileCheckFrequency', 'syncFrequency', 'address', 'port', 'healthzPort'],
  ...['healthzBindAddress', 'tlsCertFile', 'tlsPrivateKeyFile', 'tlsMinVersion'],
  ...['authentication.x509.clientCAFile', 'authentication.anonymous.enabled'],
  ...['authentication.webhook.enabled', 'authorization.mode', 'clusterDNS', 'clusterDomain', 'resolvConf'],
  ...['containerRuntimeEndpoint', 'rotateCertificates', 'serverTLSBootstrap', 'maxPods', 'podsPerCore'],
  ...['podPidsLimit', 'podCIDR', 'nodeStatusUpdateFrequency', 'nodeStatusReportFrequency'],
  ...['nodeLeaseDurationSeconds', 'containerLogMaxSize', 'containerLogMaxFiles', 'serializeImagePulls'],
  ...['systemReserved', 'kubeReserved', 'registerNode', 'registerWithTaints', 'enableDebuggingHandlers'],
  ...['enableSystemLogHandler', 'streamingConnectionIdleTimeout', 'allowedUnsafeSysctls', 'podLogsDir'],
  ...['cgroupDriver', 'seccompDefault', 'imageGCHighThresholdPercent', 'imageGCLowThresholdPercent'],
  ...['imageMinimumGCAge', 'imageMaximumGCAge'],
];

const NOT_DONE = 'the agent does not do this';
const OWN_PACE = 'the agent has a pace of its own';
const NO_EVICTION = "pressure is told at the kubelet's default thresholds, and no pod is evicted for it";
const NO_PINNING = 'processors and memory are not pinned';
const NO_HOLD = 'it protects something, and the agent does not do it';

/** All other fields. A test holds both lists against the schema. */
export const UNFOLLOWED_FIELDS: readonly UnfollowedField[] = [
  ...unfollowed(
    NO_HOLD,
    `tlsCipherSuites tlsCurvePreferences preloadedImagesVerificationAllowlist
    imagePullCredentialsVerificationPolicy`,
    { isRefused: true, neutral: ['NeverVerify'] },
  ),
  ...unfollowed(NO_HOLD, 'protectKernelDefaults', { isRefused: true, neutral: [false] }),
  ...unfollowed("the agent's server is always there: logs, exec and metrics go through it", 'enableServer', {
    isRefused: true,
    neutral: [true],
  }),
  ...unfollowed('there is no port without authentication', 'readOnlyPort'),
  ...unfollowed(
    NO_EVICTION,
    `evictionHard evictionSoft evictionSoftGracePeriod evictionMinimumReclaim evictionMaxPodGracePeriod
    evictionPressureTransitionPeriod mergeDefaultEvictionSettings`,
    { neutral: [false] },
  ),
  ...unfollowed(
    OWN_PACE,
    `httpCheckFrequency volumeStatsAggPeriod runtimeRequestTimeout containerLogMonitorInterval
    containerLogMaxWorkers maxParallelImagePulls configMapAndSecretChangeDetectionStrategy nodeStatusMaxImages
    crashLoopBackOff.maxContainerRestartPeriod cpuManagerReconcilePeriod draManagerReconcilePeriod
    authentication.webhook.cacheTTL authorization.webhook.cacheAuthorizedTTL
    authorization.webhook.cacheUnauthorizedTTL`,
  ),
  ...unfollowed(
    'requests to the API server and the registry are not throttled',
    'kubeAPIQPS kubeAPIBurst eventRecordQPS eventBurst registryPullQPS registryBurst',
  ),
  ...unfollowed('the agent speaks JSON with the API server', 'contentType', {
    neutral: ['application/json', 'application/vnd.kubernetes.protobuf'],
  }),
  ...unfollowed(
    NO_PINNING,
    `cpuManagerPolicy memoryManagerPolicy topologyManagerPolicy topologyManagerScope cpuManagerPolicyOptions
    topologyManagerPolicyOptions reservedSystemCPUs reservedMemory`,
    { neutral: ['none', 'None', 'container'] },
  ),
  ...unfollowed(
    'pods share what the node has; reserved resources are subtracted from what is allocatable alone',
    'enforceNodeAllocatable systemReservedCgroup kubeReservedCgroup qosReserved',
  ),
  ...unfollowed(
    'the cgroups are the agent\'s own: "kubepods" below the root',
    'kubeletCgroups systemCgroups cgroupRoot memoryThrottlingFactor memoryReservationPolicy',
    { neutral: ['/', 'None'] },
  ),
  ...unfollowed(NOT_DONE, 'cgroupsPerQOS cpuCFSQuota', { neutral: [true] }),
  ...unfollowed('the period is 100 ms', 'cpuCFSQuotaPeriod', { neutral: ['100ms'] }),
  ...unfollowed(NOT_DONE, 'singleProcessOOMKill kernelMemcgNotification runOnce', { neutral: [false] }),
  ...unfollowed('swap stops nothing; preflight warns of it', 'failSwapOn', { neutral: [true] }),
  ...unfollowed('containers do not swap by a limit of their own', 'memorySwap.swapBehavior', {
    neutral: ['NoSwap'],
  }),
  ...unfollowed('cgroup v1 works with the embedded runtime', 'failCgroupV1', { neutral: [false] }),
  ...unfollowed('ranges of user ids are not configured', 'userNamespaces.idsPerPod'),
  ...unfollowed(
    'a shutdown of the machine stops pods as its init system does',
    'shutdownGracePeriod shutdownGracePeriodCriticalPods shutdownGracePeriodByPodPriority',
  ),
  ...unfollowed('pods come from the directory and the API server', 'staticPodURL staticPodURLHeader'),
  ...unfollowed("the network is the CNI plugin's", 'hairpinMode', {
    neutral: ['promiscuous-bridge', 'hairpin-veth', 'none'],
  }),
  ...unfollowed(
    'the service proxy makes its own rules',
    'iptablesMasqueradeBit iptablesDropBit makeIPTablesUtilChains',
    {
      neutral: [true, 14, 15],
    },
  ),
  ...unfollowed('images and containers have one endpoint', 'imageServiceEndpoint'),
  ...unfollowed('the agent has no such volume plugins', 'volumePluginDir'),
  ...unfollowed('volumes are attached by their drivers', 'enableControllerAttachDetach', { neutral: [true] }),
  ...unfollowed('temporary storage is not limited', 'localStorageCapacityIsolation', { neutral: [true] }),
  ...unfollowed(NOT_DONE, 'providerID oomScoreAdj maxOpenFiles'),
  ...unfollowed('the agent has no such handlers', 'enableProfilingHandler enableDebugFlagsHandler', {
    neutral: [false, true],
  }),
  ...unfollowed('the agent has no such handlers', 'enableContentionProfiling enableSystemLogQuery', {
    neutral: [false],
  }),
  ...unfollowed('there are no gates in the agent', 'featureGates'),
  ...unfollowed('there are no hidden metrics', 'showHiddenMetricsForVersion'),
  ...unfollowed('the verbosity is set by the flag --v', 'logging.verbosity logging.vmodule'),
  ...unfollowed('the form of log lines is fixed', 'logging.format logging.flushFrequency logging.options', {
    neutral: ['text', '5s'],
  }),
  ...unfollowed('nothing is traced', 'tracing.endpoint tracing.samplingRatePerMillion'),
];
