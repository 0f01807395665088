import { PATHS } from '../../runtime/base/paths.ts';
import type { DocumentFields } from './defaults.ts';
import type { RawObject } from './documents.ts';
import { isMapping, readField } from './fields.ts';
import { apiVersionOf } from './kinds.ts';
import { dnsServiceAddress, parseSubnets } from './network.ts';
import type {
  ClusterConfiguration,
  ComponentDocument,
  InitConfig,
  MachineDefaults,
  TkadmConfiguration,
} from './types.ts';

/** Where kube-proxy's pod mounts its ConfigMap. */
export const KUBE_PROXY_CONFIG_DIR = '/var/lib/kube-proxy';

/** The kubelet's document: what the user gave over tkadm's defaults; `rotateCertificates` is always on. */
export function buildKubeletDocument(
  cluster: ClusterConfiguration,
  tkadm: TkadmConfiguration,
  { user = {}, machine }: { readonly user?: RawObject | undefined; readonly machine: MachineDefaults },
): ComponentDocument {
  const isEmbedded = tkadm.engine === 'embedded';
  const defaults = {
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: `${cluster.certificatesDir}/ca.crt` },
    },
    authorization: { mode: 'Webhook' },
    // The embedded runtime places cgroups itself, with or without systemd, on cgroup v1 too.
    cgroupDriver: isEmbedded ? 'cgroupfs' : 'systemd',
    ...(isEmbedded ? { failCgroupV1: false } : {}),
    clusterDNS: defaultDns(cluster),
    clusterDomain: cluster.networking.dnsDomain,
    healthzBindAddress: '127.0.0.1',
    healthzPort: 10248,
    ...(machine.resolvConf ? { resolvConf: machine.resolvConf } : {}),
    staticPodPath: PATHS.manifests,
  };
  return {
    apiVersion: apiVersionOf('KubeletConfiguration'),
    kind: 'KubeletConfiguration',
    ...merge(defaults, user),
    rotateCertificates: true,
  };
}

/** The proxy's document: what the user gave over tkadm's defaults. */
export function buildKubeProxyDocument(
  cluster: ClusterConfiguration,
  tkadm: TkadmConfiguration,
  user: RawObject = {},
): ComponentDocument {
  const { podSubnet } = cluster.networking;
  const defaults = {
    bindAddress: proxyBindAddress(cluster),
    clientConnection: { kubeconfig: `${KUBE_PROXY_CONFIG_DIR}/kubeconfig.conf` },
    ...(podSubnet ? { clusterCIDR: podSubnet } : {}),
    ...(tkadm.engine === 'embedded' ? { mode: 'nftables' } : {}),
  };
  return {
    apiVersion: apiVersionOf('KubeProxyConfiguration'),
    kind: 'KubeProxyConfiguration',
    ...merge(defaults, user),
  };
}

interface ExpectedField {
  readonly document: 'KubeletConfiguration' | 'KubeProxyConfiguration';
  readonly path: string;
  /** What the cluster needs; undefined when it needs nothing. */
  readonly wanted: (config: InitConfig) => unknown;
  /** The user's value is replaced; else it is kept. */
  readonly isForced?: boolean;
}

/** Fields of component documents that have to fit the cluster. */
const EXPECTED_FIELDS: readonly ExpectedField[] = [
  ...(
    [
      ['authentication.anonymous.enabled', () => false],
      ['authentication.webhook.enabled', () => true],
      ['authentication.x509.clientCAFile', ({ cluster }) => `${cluster.certificatesDir}/ca.crt`],
      ['authorization.mode', () => 'Webhook'],
      ['clusterDNS', ({ cluster }) => defaultDns(cluster)],
      ['clusterDomain', ({ cluster }) => cluster.networking.dnsDomain],
      ['healthzBindAddress', () => '127.0.0.1'],
      ['healthzPort', () => 10248],
      ['staticPodPath', () => PATHS.manifests],
    ] as const satisfies readonly (readonly [string, ExpectedField['wanted']])[]
  ).map(([path, wanted]): ExpectedField => ({ document: 'KubeletConfiguration', path, wanted })),
  { document: 'KubeletConfiguration', path: 'rotateCertificates', wanted: () => true, isForced: true },
  {
    document: 'KubeProxyConfiguration',
    path: 'bindAddress',
    wanted: ({ cluster }) => proxyBindAddress(cluster),
  },
  {
    document: 'KubeProxyConfiguration',
    path: 'clientConnection.kubeconfig',
    wanted: () => `${KUBE_PROXY_CONFIG_DIR}/kubeconfig.conf`,
  },
  {
    document: 'KubeProxyConfiguration',
    path: 'clusterCIDR',
    wanted: ({ cluster }) => cluster.networking.podSubnet,
  },
];

/** What is said of fields that a user set to something that does not fit the cluster. */
export function findComponentDifferences(fields: DocumentFields, config: InitConfig): readonly string[] {
  return EXPECTED_FIELDS.flatMap(({ document, path, wanted, isForced }) => {
    const actual = readField(fields[document], path);
    const expected = wanted(config);
    if (actual === undefined || JSON.stringify(actual) === JSON.stringify(expected)) return [];
    const [shown, needed] = [JSON.stringify(actual), JSON.stringify(expected) ?? 'not set'];
    return isForced
      ? [`${document} ${path}: ${shown} is not used: it is always ${needed}`]
      : [`${document} ${path}: ${shown} is kept, although the cluster's value is ${needed}`];
  });
}

/** The unspecified address of the family that Services have first. */
function proxyBindAddress(cluster: ClusterConfiguration): string {
  return parseSubnets(cluster.networking.serviceSubnet)[0]?.family === 6 ? '::' : '0.0.0.0';
}

function defaultDns(cluster: ClusterConfiguration): readonly string[] {
  // Validation has not run yet: a range without a tenth address is reported there.
  const [first] = parseSubnets(cluster.networking.serviceSubnet);
  return first ? [safeDnsAddress(cluster.networking.serviceSubnet)].filter((text) => text !== '') : [];
}

function safeDnsAddress(serviceSubnet: string): string {
  try {
    return dnsServiceAddress(serviceSubnet);
  } catch {
    return '';
  }
}

/** `over` over `base`, mapping by mapping; lists and scalars are replaced. */
function merge(base: RawObject, over: RawObject): RawObject {
  const result: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const old = result[key];
    result[key] = isMapping(old) && isMapping(value) ? merge(old, value) : value;
  }
  return result;
}
