import { load } from 'js-yaml';
import { TkadmError } from '../base/errors.ts';
import { parseDuration } from '../base/flags.ts';

/** The fields of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1) that the agent follows. */
export interface KubeletConfig {
  readonly staticPodPath: string | undefined;
  readonly fileCheckMs: number;
  readonly syncMs: number;
  readonly address: string;
  readonly port: number;
  readonly healthzPort: number;
  readonly healthzBindAddress: string;
  readonly tlsCertFile: string | undefined;
  readonly tlsPrivateKeyFile: string | undefined;
  readonly clientCaFile: string | undefined;
  readonly isAnonymousAllowed: boolean;
  readonly isWebhookAuthentication: boolean;
  readonly authorizationMode: 'Webhook' | 'AlwaysAllow';
  readonly clusterDns: readonly string[];
  readonly clusterDomain: string;
  readonly resolvConf: string;
  readonly containerRuntimeEndpoint: string | undefined;
  readonly rotateCertificates: boolean;
  /** `serverTLSBootstrap` */
  readonly isServingSignedByCluster: boolean;
  readonly maxPods: number;
  readonly podsPerCore: number;
  /** Processes and threads of a pod; below 1 is no limit. */
  readonly podPidsLimit: number;
  readonly podCidr: string | undefined;
  readonly nodeStatusUpdateMs: number;
  readonly nodeStatusReportMs: number;
  readonly nodeLeaseDurationSeconds: number;
  readonly containerLogMaxBytes: number;
  readonly containerLogMaxFiles: number;
  readonly serializeImagePulls: boolean;
  readonly systemReserved: Readonly<Record<string, string>>;
  readonly kubeReserved: Readonly<Record<string, string>>;
  readonly registerNode: boolean;
  readonly registerWithTaints: readonly { key: string; value?: string; effect: string }[];
  readonly enableDebuggingHandlers: boolean;
  readonly enableSystemLogHandler: boolean;
  readonly streamingIdleMs: number;
  readonly allowedUnsafeSysctls: readonly string[];
  readonly podLogsDir: string;
  readonly cgroupDriver: string;
}

export interface ParsedKubeletConfig {
  readonly config: KubeletConfig;
  /** Dotted names of fields that are set and not followed. */
  readonly unsupported: readonly string[];
}

/** Fields that are read or whose meaning needs nothing: accepted without a note. */
const ACCEPTED: ReadonlySet<string> = new Set([
  ...['apiVersion', 'kind', 'staticPodPath', 'fileCheckFrequency', 'syncFrequency', 'address', 'port'],
  ...['healthzPort', 'healthzBindAddress', 'tlsCertFile', 'tlsPrivateKeyFile', 'authentication'],
  ...['authorization', 'clusterDNS', 'clusterDomain', 'resolvConf', 'containerRuntimeEndpoint'],
  ...['rotateCertificates', 'maxPods', 'podsPerCore', 'podPidsLimit', 'podCIDR', 'nodeStatusUpdateFrequency'],
  ...['nodeStatusReportFrequency', 'nodeLeaseDurationSeconds', 'containerLogMaxSize'],
  ...['containerLogMaxFiles', 'serializeImagePulls', 'systemReserved', 'kubeReserved', 'registerNode'],
  ...['registerWithTaints', 'enableDebuggingHandlers', 'enableSystemLogHandler', 'podLogsDir'],
  ...['streamingConnectionIdleTimeout', 'allowedUnsafeSysctls', 'cgroupDriver', 'contentType'],
  // Accepted: eviction and image collection stay at their safe side, the rest tunes what does not exist here.
  ...['evictionHard', 'evictionSoft', 'evictionSoftGracePeriod', 'evictionPressureTransitionPeriod'],
  ...['evictionMinimumReclaim', 'evictionMaxPodGracePeriod', 'imageGCHighThresholdPercent'],
  ...['imageGCLowThresholdPercent', 'imageMinimumGCAge', 'imageMaximumGCAge', 'httpCheckFrequency'],
  ...['volumeStatsAggPeriod', 'runtimeRequestTimeout', 'kubeAPIQPS', 'kubeAPIBurst', 'eventRecordQPS'],
  ...['eventBurst', 'registryPullQPS', 'registryBurst', 'logging', 'failSwapOn', 'memorySwap'],
  ...['shutdownGracePeriod', 'shutdownGracePeriodCriticalPods', 'cpuManagerReconcilePeriod'],
  ...['cpuManagerPolicy', 'memoryManagerPolicy', 'topologyManagerPolicy', 'crashLoopBackOff', 'hairpinMode'],
  ...['cgroupsPerQOS', 'enforceNodeAllocatable', 'failCgroupV1', 'serverTLSBootstrap', 'rotateCertificates'],
]);

type Raw = Record<string, unknown>;

/**
 * Parses KubeletConfiguration YAML or JSON and fills in the kubelet's defaults.
 * @throws AGENT_CONFIG_INVALID naming the field.
 */
export function parseKubeletConfig(text: string, path: string): ParsedKubeletConfig {
  let raw: Raw;
  try {
    raw = (load(text) ?? {}) as Raw;
  } catch (error) {
    throw invalid(path, (error as Error).message);
  }
  if (typeof raw !== 'object') throw invalid(path, 'it is no mapping');
  if (raw['kind'] !== undefined && raw['kind'] !== 'KubeletConfiguration') {
    throw invalid(path, `its kind is "${String(raw['kind'])}", not "KubeletConfiguration"`);
  }
  const unsupported = Object.keys(raw).filter((key) => !ACCEPTED.has(key) && !isEmpty(raw[key]));
  return { config: readFields(raw, path), unsupported };
}

/** The configuration when no file is given. */
export function defaultKubeletConfig(): KubeletConfig {
  return readFields({}, '');
}

function readFields(raw: Raw, path: string): KubeletConfig {
  const field = createFieldReader(raw, path);
  const mode = field.text('authorization.mode', 'Webhook');
  if (mode !== 'Webhook' && mode !== 'AlwaysAllow') throw invalid(path, `authorization.mode is "${mode}"`);
  const caFile = field.text('authentication.x509.clientCAFile', '');
  return {
    staticPodPath: field.text('staticPodPath', '') || undefined,
    fileCheckMs: field.duration('fileCheckFrequency', 20_000),
    syncMs: field.duration('syncFrequency', 60_000),
    address: field.text('address', '0.0.0.0'),
    port: field.number('port', 10250),
    healthzPort: field.number('healthzPort', 10248),
    healthzBindAddress: field.text('healthzBindAddress', '127.0.0.1'),
    tlsCertFile: field.text('tlsCertFile', '') || undefined,
    tlsPrivateKeyFile: field.text('tlsPrivateKeyFile', '') || undefined,
    clientCaFile: caFile || undefined,
    isAnonymousAllowed: field.boolean('authentication.anonymous.enabled', false),
    isWebhookAuthentication: field.boolean('authentication.webhook.enabled', true),
    authorizationMode: mode,
    clusterDns: field.list('clusterDNS'),
    clusterDomain: field.text('clusterDomain', ''),
    resolvConf: field.text('resolvConf', '/etc/resolv.conf'),
    containerRuntimeEndpoint: field.text('containerRuntimeEndpoint', '') || undefined,
    rotateCertificates: field.boolean('rotateCertificates', false),
    isServingSignedByCluster: field.boolean('serverTLSBootstrap', false),
    maxPods: field.number('maxPods', 110),
    podsPerCore: field.number('podsPerCore', 0),
    podPidsLimit: field.number('podPidsLimit', -1),
    podCidr: field.text('podCIDR', '') || undefined,
    nodeStatusUpdateMs: field.duration('nodeStatusUpdateFrequency', 10_000),
    nodeStatusReportMs: field.duration('nodeStatusReportFrequency', 300_000),
    nodeLeaseDurationSeconds: field.number('nodeLeaseDurationSeconds', 40),
    containerLogMaxBytes: parseSize(field.text('containerLogMaxSize', '10Mi'), path),
    containerLogMaxFiles: field.number('containerLogMaxFiles', 5),
    serializeImagePulls: field.boolean('serializeImagePulls', true),
    systemReserved: field.map('systemReserved'),
    kubeReserved: field.map('kubeReserved'),
    registerNode: field.boolean('registerNode', true),
    registerWithTaints: (raw['registerWithTaints'] as KubeletConfig['registerWithTaints'] | undefined) ?? [],
    enableDebuggingHandlers: field.boolean('enableDebuggingHandlers', true),
    enableSystemLogHandler: field.boolean('enableSystemLogHandler', true),
    streamingIdleMs: field.duration('streamingConnectionIdleTimeout', 4 * 3_600_000),
    allowedUnsafeSysctls: field.list('allowedUnsafeSysctls'),
    podLogsDir: field.text('podLogsDir', '/var/log/pods'),
    cgroupDriver: field.text('cgroupDriver', 'cgroupfs'),
  };
}

function createFieldReader(raw: Raw, path: string) {
  const at = (name: string): unknown =>
    name.split('.').reduce<unknown>((value, key) => (value as Raw | null | undefined)?.[key], raw) ??
    undefined;
  const typed =
    <T>(type: string) =>
    (name: string, fallback: T): T => {
      const value = at(name);
      if (value === undefined) return fallback;
      if (typeof value !== type) throw invalid(path, `${name} is no ${type}`);
      return value as T;
    };
  const text = typed<string>('string');
  return {
    text,
    number: typed<number>('number'),
    boolean: typed<boolean>('boolean'),
    // A Go duration of 0 means "the default" in every field that the agent reads.
    duration: (name: string, fallback: number) => parseDuration(text(name, '0s')) || fallback,
    list: (name: string): readonly string[] => {
      const value = at(name) ?? [];
      if (!Array.isArray(value)) throw invalid(path, `${name} is no list`);
      return value.map(String);
    },
    map: (name: string): Readonly<Record<string, string>> => (at(name) as Record<string, string>) ?? {},
  };
}

function parseSize(text: string, path: string): number {
  const match = /^(\d+)(Ki|Mi|Gi)?$/.exec(text);
  if (!match) throw invalid(path, `containerLogMaxSize is "${text}"`);
  const unit = { '': 1, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 }[match[2] ?? '']!;
  return Number(match[1]) * unit;
}

function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined || value === '' || value === 0 || value === false) return true;
  if (value === '0s') return true;
  return typeof value === 'object' && Object.values(value).every(isEmpty);
}

function invalid(path: string, state: string): TkadmError {
  return new TkadmError('AGENT_CONFIG_INVALID', `Cannot use kubelet configuration "${path}": ${state}`);
}
