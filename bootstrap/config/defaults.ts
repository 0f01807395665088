import { randomBytes } from 'node:crypto';
import { parseDuration } from '../../runtime/base/flags.ts';
import { EMBEDDED_IMAGE_REPOSITORY, PATHS } from '../../runtime/base/paths.ts';
import { DEFAULT_TOKEN_GROUP, generateToken, TOKEN_USAGES } from '../tokens/token.ts';
import { completeCluster } from './cluster-defaults.ts';
import { buildKubeletDocument, buildKubeProxyDocument } from './components.ts';
import { completeSocket } from './cri-socket.ts';
import type { RawObject } from './documents.ts';
import { pick, readField } from './fields.ts';
import type { DocumentKindName } from './kinds.ts';
import { parseSubnets } from './network.ts';
import type {
  BootstrapTokenConfig,
  BootstrapTokenDiscovery,
  ConfigKind,
  ConfigOfKind,
  InitConfig,
  JoinConfig,
  LocalApiEndpoint,
  MachineDefaults,
  NodeRegistration,
  ResetConfig,
  Taint,
  Timeouts,
  TkadmConfiguration,
  UpgradeConfig,
  UpgradeStep,
} from './types.ts';

/** The documents' fields by kind, as they passed their schemas. */
export type DocumentFields = Readonly<Partial<Record<DocumentKindName, RawObject>>>;

/** Stands for any machine, where the configuration alone is looked at. */
export const ANY_MACHINE: MachineDefaults = {
  hostname: 'node',
  advertiseAddress: '1.2.3.4',
  advertiseAddressIpv6: '2001:db8::1',
};
/** The API server's port. */
export const DEFAULT_BIND_PORT = 6443;
/** What keeps other pods off control-plane nodes. */
export const CONTROL_PLANE_TAINT: Taint = {
  key: 'node-role.kubernetes.io/control-plane',
  effect: 'NoSchedule',
};

export const DEFAULT_TIMEOUTS = {
  controlPlaneComponentHealthCheck: '4m',
  kubeletHealthCheck: '4m',
  kubernetesAPICall: '1m',
  etcdAPICall: '2m',
  tlsBootstrap: '5m',
  discovery: '5m',
  upgradeManifests: '5m',
} as const;

/** The whole configuration of a kind: what the documents say, and defaults for the rest. */
export function completeConfig<K extends ConfigKind>(
  kind: K,
  fields: DocumentFields,
  machine: MachineDefaults,
): ConfigOfKind[K] {
  const complete = {
    InitConfiguration: completeInit,
    JoinConfiguration: completeJoin,
    ResetConfiguration: completeReset,
    UpgradeConfiguration: completeUpgrade,
  } as { [P in ConfigKind]: (fields: DocumentFields, machine: MachineDefaults) => ConfigOfKind[P] };
  return complete[kind](fields, machine);
}

function completeInit(fields: DocumentFields, machine: MachineDefaults): InitConfig {
  const raw = (fields.InitConfiguration ?? {}) as Partial<InitConfig> & RawObject;
  const tkadm = completeTkadm(fields);
  const cluster = completeCluster(fields.ClusterConfiguration ?? {}, tkadm);
  return {
    kind: 'InitConfiguration',
    ...common(raw, tkadm),
    nodeRegistration: completeNode(raw, { machine, tkadm, taints: controlPlaneTaints(tkadm) }),
    localAPIEndpoint: completeEndpoint(raw.localAPIEndpoint, machine, cluster.networking.serviceSubnet),
    bootstrapTokens: nonEmpty<Partial<BootstrapTokenConfig>>(raw.bootstrapTokens, [{}]).map(completeToken),
    ...pick(raw, 'certificateKey'),
    cluster,
    kubelet: buildKubeletDocument(cluster, tkadm, { user: fields.KubeletConfiguration, machine }),
    kubeProxy: buildKubeProxyDocument(cluster, tkadm, fields.KubeProxyConfiguration),
    userSupplied: {
      kubelet: fields.KubeletConfiguration !== undefined,
      kubeProxy: fields.KubeProxyConfiguration !== undefined,
    },
  };
}

/** The embedded engine serves small clusters, whose control plane runs the users' pods too; kubeadm's does not. */
function controlPlaneTaints({ engine }: TkadmConfiguration): readonly Taint[] {
  return engine === 'embedded' ? [] : [CONTROL_PLANE_TAINT];
}

function completeJoin(fields: DocumentFields, machine: MachineDefaults): JoinConfig {
  const raw = (fields.JoinConfiguration ?? {}) as Partial<JoinConfig> & RawObject;
  const { controlPlane } = raw;
  const tkadm = completeTkadm(fields);
  const token = raw.discovery?.bootstrapToken as Partial<BootstrapTokenDiscovery> | undefined;
  const tlsBootstrapToken = raw.discovery?.tlsBootstrapToken || token?.token;
  return {
    kind: 'JoinConfiguration',
    ...common(raw, tkadm),
    nodeRegistration: completeNode(raw, {
      machine,
      tkadm,
      taints: controlPlane ? controlPlaneTaints(tkadm) : [],
    }),
    caCertPath: raw.caCertPath || `${PATHS.pki}/ca.crt`,
    discovery: {
      ...(token
        ? {
            bootstrapToken: {
              token: '',
              apiServerEndpoint: '',
              caCertHashes: [],
              unsafeSkipCAVerification: false,
              ...token,
            },
          }
        : {}),
      ...(raw.discovery?.file ? { file: raw.discovery.file } : {}),
      ...(tlsBootstrapToken ? { tlsBootstrapToken } : {}),
    },
    ...(controlPlane
      ? {
          controlPlane: {
            localAPIEndpoint: completeEndpoint(controlPlane.localAPIEndpoint, machine),
            ...pick(controlPlane, 'certificateKey'),
          },
        }
      : {}),
  };
}

function completeReset(fields: DocumentFields, machine: MachineDefaults): ResetConfig {
  const raw = (fields.ResetConfiguration ?? {}) as Partial<ResetConfig> & RawObject;
  const tkadm = completeTkadm(fields);
  return {
    kind: 'ResetConfiguration',
    ...common(raw, tkadm),
    criSocket: completeSocket(raw.criSocket, tkadm, machine),
    ...pick(raw, 'certificatesDir'),
    isForced: raw['force'] === true,
    shouldCleanTmpDir: raw['cleanupTmpDir'] === true,
    ignorePreflightErrors: raw.ignorePreflightErrors ?? [],
    unmountFlags: raw.unmountFlags ?? [],
  };
}

function completeUpgrade(fields: DocumentFields): UpgradeConfig {
  const raw = (fields.UpgradeConfiguration ?? {}) as RawObject;
  const diff = (raw['diff'] ?? {}) as Partial<UpgradeConfig['diff']>;
  return {
    kind: 'UpgradeConfiguration',
    ...common(raw, completeTkadm(fields)),
    apply: completeUpgradeStep(raw['apply']),
    node: completeUpgradeStep(raw['node']),
    plan: completeUpgradeStep(raw['plan']),
    diff: { contextLines: 3, ...diff },
  };
}

function completeUpgradeStep(value: unknown): UpgradeStep {
  const { patches, ...raw } = (value ?? {}) as RawObject & { patches?: { directory?: string } };
  return {
    allowExperimentalUpgrades: false,
    allowRCUpgrades: false,
    certificateRenewal: true,
    etcdUpgrade: true,
    forceUpgrade: false,
    dryRun: false,
    printConfig: false,
    ignorePreflightErrors: [],
    skipPhases: [],
    imagePullPolicy: 'IfNotPresent',
    imagePullSerial: true,
    ...raw,
    ...(patches?.directory ? { patchesDirectory: patches.directory } : {}),
  };
}

function completeTkadm(fields: DocumentFields): TkadmConfiguration {
  const raw = (fields.TkadmConfiguration ?? {}) as Partial<TkadmConfiguration>;
  const engine = raw.engine ?? 'embedded';
  const hasExternalEtcd = readField(fields.ClusterConfiguration, 'etcd.external') !== undefined;
  return {
    engine,
    store: raw.store ?? (engine === 'embedded' && !hasExternalEtcd ? 'embedded' : 'etcd'),
    imageRepository: raw.imageRepository || EMBEDDED_IMAGE_REPOSITORY,
  };
}

function completeNode(
  raw: { readonly nodeRegistration?: Partial<NodeRegistration> | undefined },
  {
    machine,
    tkadm,
    taints,
  }: {
    readonly machine: MachineDefaults;
    readonly tkadm: TkadmConfiguration;
    readonly taints: readonly Taint[];
  },
): NodeRegistration {
  const node: Partial<NodeRegistration> = raw.nodeRegistration ?? {};
  return {
    name: (node.name || machine.hostname).trim().toLowerCase(),
    criSocket: completeSocket(node.criSocket, tkadm, machine),
    taints: node.taints ?? taints,
    kubeletExtraArgs: node.kubeletExtraArgs ?? [],
    ignorePreflightErrors: node.ignorePreflightErrors ?? [],
    imagePullPolicy: node.imagePullPolicy || 'IfNotPresent',
    imagePullSerial: node.imagePullSerial ?? true,
  };
}

function completeEndpoint(
  raw: Partial<LocalApiEndpoint> | undefined,
  machine: MachineDefaults,
  serviceSubnet = '',
): LocalApiEndpoint {
  const isIpv6 = parseSubnets(serviceSubnet)[0]?.family === 6;
  const own = (isIpv6 ? machine.advertiseAddressIpv6 : undefined) ?? machine.advertiseAddress;
  return {
    advertiseAddress: raw?.advertiseAddress || own,
    bindPort: raw?.bindPort || DEFAULT_BIND_PORT,
  };
}

function completeToken(raw: Partial<BootstrapTokenConfig>): BootstrapTokenConfig {
  const usages = nonEmpty(raw.usages, TOKEN_USAGES);
  // A token without a user of its own has no groups either.
  const groups = usages.includes('authentication') ? [DEFAULT_TOKEN_GROUP] : [];
  return {
    token: raw.token || generateToken(randomBytes),
    ...(raw.token ? {} : { isGenerated: true }),
    ...pick(raw, 'description'),
    ...(raw.expires === undefined ? { ttl: raw.ttl ?? '24h0m0s' } : pick(raw, 'ttl')),
    ...pick(raw, 'expires'),
    usages,
    groups: nonEmpty(raw.groups, groups),
  };
}

function common(raw: RawObject, tkadm: TkadmConfiguration) {
  const { directory } = (raw['patches'] ?? {}) as { directory?: string };
  return {
    isDryRun: raw['dryRun'] === true,
    skipPhases: (raw['skipPhases'] ?? []) as readonly string[],
    ...(directory ? { patchesDirectory: directory } : {}),
    timeouts: completeTimeouts(raw['timeouts']),
    tkadm,
  };
}

function completeTimeouts(raw: unknown): Timeouts {
  const texts = { ...DEFAULT_TIMEOUTS, ...(raw as Partial<Record<keyof typeof DEFAULT_TIMEOUTS, string>>) };
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]) => [
      `${name}Ms`,
      parseDuration(text) || parseDuration(DEFAULT_TIMEOUTS[name as keyof typeof DEFAULT_TIMEOUTS]),
    ]),
  ) as unknown as Timeouts;
}

/** The list, or the default for one that is not there or empty: to the API the two are one. */
function nonEmpty<T>(list: readonly T[] | undefined, fallback: readonly T[]): readonly T[] {
  return list === undefined || list.length === 0 ? fallback : list;
}
