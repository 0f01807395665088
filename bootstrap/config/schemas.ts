import type { DocumentKindName } from './kinds.ts';

/** A JSON Schema as ajv takes it. */
export type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: 'string' };
const flag: Schema = { type: 'boolean' };
const integer: Schema = { type: 'integer' };
const number: Schema = { type: 'number' };
const anything: Schema = {};
/** metav1.Duration */
const duration: Schema = {
  type: 'string',
  pattern: '^(0|[-+]?((\\d+(\\.\\d*)?|\\.\\d+)(ns|us|µs|ms|s|m|h))+)$',
};
const list = (items: Schema): Schema => ({ type: 'array', items });
const map = (values: Schema): Schema => ({ type: 'object', additionalProperties: values });
const object = (properties: Readonly<Record<string, Schema>>): Schema => ({
  type: 'object',
  properties,
  additionalProperties: false,
});
/** Many fields of one type. */
const fields = (schema: Schema, names: string): Readonly<Record<string, Schema>> =>
  Object.fromEntries(
    names
      .trim()
      .split(/\s+/)
      .map((name) => [name, schema]),
  );

const nameValues = list({ ...object({ name: text, value: text }), required: ['name'] });
const envVars = list({
  ...object({ name: text, value: text, valueFrom: map(anything) }),
  required: ['name'],
});
const taints = list({
  ...object({ key: text, value: text, effect: text, timeAdded: text }),
  required: ['key', 'effect'],
});
const volumes = list(object({ name: text, hostPath: text, mountPath: text, readOnly: flag, pathType: text }));
const component = { extraArgs: nameValues, extraVolumes: volumes, extraEnvs: envVars };
const nodeRegistration = object({
  ...fields(text, 'name criSocket imagePullPolicy'),
  taints,
  kubeletExtraArgs: nameValues,
  ignorePreflightErrors: list(text),
  imagePullSerial: flag,
});
const localAPIEndpoint = object({ advertiseAddress: text, bindPort: integer });
const patches = object({ directory: text });
const timeouts = object(
  fields(
    duration,
    `controlPlaneComponentHealthCheck kubeletHealthCheck kubernetesAPICall etcdAPICall tlsBootstrap discovery
    upgradeManifests`,
  ),
);
const upgradeNode = {
  ...fields(flag, 'certificateRenewal dryRun etcdUpgrade imagePullSerial'),
  ignorePreflightErrors: list(text),
  patches,
  skipPhases: list(text),
  imagePullPolicy: text,
};

/** Fields of a KubeletConfiguration, by type (k8s.io/kubelet/config/v1beta1). */
const kubelet = object({
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
  logging: map(anything),
  tracing: map(anything),
});

const masquerade = {
  masqueradeBit: integer,
  masqueradeAll: flag,
  syncPeriod: duration,
  minSyncPeriod: duration,
};

/** Fields of a KubeProxyConfiguration (k8s.io/kube-proxy/config/v1alpha1). */
const kubeProxy = object({
  featureGates: map(flag),
  clientConnection: object({
    ...fields(text, 'kubeconfig acceptContentTypes contentType'),
    qps: number,
    burst: integer,
  }),
  logging: map(anything),
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
  winkernel: map(anything),
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

/** The schema of each kind of document, without apiVersion and kind; unset fields are absent, not null. */
export const SCHEMAS = {
  InitConfiguration: object({
    bootstrapTokens: list(
      object({
        ...fields(text, 'token description expires'),
        ttl: duration,
        usages: list(text),
        groups: list(text),
      }),
    ),
    dryRun: flag,
    nodeRegistration,
    localAPIEndpoint,
    certificateKey: text,
    skipPhases: list(text),
    patches,
    timeouts,
  }),
  ClusterConfiguration: object({
    ...fields(
      text,
      'kubernetesVersion clusterName controlPlaneEndpoint certificatesDir imageRepository encryptionAlgorithm',
    ),
    networking: object(fields(text, 'serviceSubnet podSubnet dnsDomain')),
    apiServer: object({ ...component, certSANs: list(text) }),
    controllerManager: object(component),
    scheduler: object(component),
    etcd: object({
      local: object({
        ...fields(text, 'imageRepository imageTag dataDir'),
        extraArgs: nameValues,
        extraEnvs: envVars,
        serverCertSANs: list(text),
        peerCertSANs: list(text),
      }),
      external: object({
        endpoints: list(text),
        httpEndpoints: list(text),
        ...fields(text, 'caFile certFile keyFile'),
      }),
    }),
    dns: object({ imageRepository: text, imageTag: text, disabled: flag }),
    proxy: object({ disabled: flag }),
    featureGates: map(flag),
    certificateValidityPeriod: duration,
    caCertificateValidityPeriod: duration,
  }),
  JoinConfiguration: object({
    dryRun: flag,
    nodeRegistration,
    caCertPath: text,
    discovery: object({
      bootstrapToken: object({
        ...fields(text, 'token apiServerEndpoint'),
        caCertHashes: list(text),
        unsafeSkipCAVerification: flag,
      }),
      file: object({ kubeConfigPath: text }),
      tlsBootstrapToken: text,
    }),
    controlPlane: object({ localAPIEndpoint, certificateKey: text }),
    skipPhases: list(text),
    patches,
    timeouts,
  }),
  ResetConfiguration: object({
    ...fields(flag, 'cleanupTmpDir dryRun force'),
    ...fields(text, 'certificatesDir criSocket'),
    ...fields(list(text), 'ignorePreflightErrors skipPhases unmountFlags'),
    timeouts,
  }),
  UpgradeConfiguration: object({
    apply: object({
      ...upgradeNode,
      kubernetesVersion: text,
      ...fields(flag, 'allowExperimentalUpgrades allowRCUpgrades forceUpgrade printConfig'),
    }),
    node: object(upgradeNode),
    plan: object({
      kubernetesVersion: text,
      ...fields(flag, 'allowExperimentalUpgrades allowRCUpgrades dryRun etcdUpgrade printConfig'),
      ignorePreflightErrors: list(text),
    }),
    diff: object({ kubernetesVersion: text, contextLines: integer }),
    timeouts,
  }),
  KubeletConfiguration: kubelet,
  KubeProxyConfiguration: kubeProxy,
  TkadmConfiguration: object({
    engine: { type: 'string', enum: ['embedded', 'upstream'] },
    store: { type: 'string', enum: ['embedded', 'etcd'] },
    imageRepository: text,
  }),
} as const satisfies Record<DocumentKindName, Schema>;
