import { load } from 'js-yaml';
import { TkadmError } from '../base/errors.ts';
import { parseDuration } from '../base/flags.ts';
import { findUnfollowed, type UnfollowedField } from '../base/unfollowed-fields.ts';
import { FOLLOWED_FIELDS, UNFOLLOWED_FIELDS } from './kubelet-config-fields.ts';

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
  readonly tlsMinVersion: 'TLSv1.2' | 'TLSv1.3';
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
  readonly imageGc: ImageGcSettings;
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
  /** Containers without a seccomp profile of their own run under the runtime's. */
  readonly isSeccompDefault: boolean;
}

/** When unused images are removed: imageGCHighThresholdPercent, imageGCLowThresholdPercent, imageMinimumGCAge, imageMaximumGCAge. */
export interface ImageGcSettings {
  /** 100 is never. */
  readonly highPercent: number;
  readonly lowPercent: number;
  readonly minAgeMs: number;
  /** 0 is no limit. */
  readonly maxAgeMs: number;
}

export interface ParsedKubeletConfig {
  readonly config: KubeletConfig;
  /** Fields that are set and not followed. */
  readonly unfollowed: readonly UnfollowedField[];
}

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
  const unfollowed = findUnfollowed(raw, [...UNFOLLOWED_FIELDS, ...unknownFields(raw)]);
  const refused = unfollowed.find((field) => field.isRefused);
  if (refused) throw invalid(path, `${refused.path} is set: ${refused.reason}`);
  return { config: readFields(raw, path), unfollowed };
}

/** Fields of a version that is newer than this agent. */
function unknownFields(raw: Raw): readonly UnfollowedField[] {
  const known = [...FOLLOWED_FIELDS, ...UNFOLLOWED_FIELDS.map((field) => field.path)];
  const names = new Set(['apiVersion', 'kind', ...known.map((path) => path.split('.')[0])]);
  return Object.keys(raw)
    .filter((path) => !names.has(path))
    .map((path) => ({ path, reason: 'the agent does not know it' }));
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
    tlsMinVersion: parseTlsVersion(field.text('tlsMinVersion', ''), path),
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
    imageGc: readImageGc(field, path),
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
    isSeccompDefault: field.boolean('seccompDefault', false),
  };
}

function readImageGc(field: ReturnType<typeof createFieldReader>, path: string): ImageGcSettings {
  const settings = {
    highPercent: field.number('imageGCHighThresholdPercent', 85),
    lowPercent: field.number('imageGCLowThresholdPercent', 80),
    minAgeMs: field.duration('imageMinimumGCAge', 2 * 60_000),
    maxAgeMs: field.duration('imageMaximumGCAge', 0),
  };
  const { highPercent, lowPercent, minAgeMs, maxAgeMs } = settings;
  if (!(lowPercent >= 0 && lowPercent < highPercent && highPercent <= 100)) {
    const state = `imageGCLowThresholdPercent ${lowPercent} and imageGCHighThresholdPercent ${highPercent}`;
    throw invalid(path, `${state} are not 0 to 100, the low one below the high one`);
  }
  if (maxAgeMs !== 0 && maxAgeMs <= minAgeMs)
    throw invalid(path, 'imageMaximumGCAge is not above imageMinimumGCAge');
  return settings;
}

/** Older versions than 1.2 are not spoken, which is no less than what was asked for. */
function parseTlsVersion(text: string, path: string): 'TLSv1.2' | 'TLSv1.3' {
  if (!['', 'VersionTLS10', 'VersionTLS11', 'VersionTLS12', 'VersionTLS13'].includes(text))
    throw invalid(path, `tlsMinVersion is "${text}"`);
  return text === 'VersionTLS13' ? 'TLSv1.3' : 'TLSv1.2';
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

function invalid(path: string, state: string): TkadmError {
  return new TkadmError('AGENT_CONFIG_INVALID', `Cannot use kubelet configuration "${path}": ${state}`);
}
