import { PATHS } from '../../runtime/base/paths.ts';
import type { RawObject } from './documents.ts';
import { apiVersionOf } from './kinds.ts';
import { dnsServiceAddress, parseSubnets } from './network.ts';
import type {
  ClusterConfiguration,
  ComponentDocument,
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
  const isIpv6 = parseSubnets(cluster.networking.serviceSubnet)[0]?.family === 6;
  const { podSubnet } = cluster.networking;
  const defaults = {
    bindAddress: isIpv6 ? '::' : '0.0.0.0',
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

/** Fields that a user set to something that does not fit the cluster; each is kept and told. */
export function checkComponents(
  cluster: ClusterConfiguration,
  kubelet: ComponentDocument,
  kubeProxy: ComponentDocument,
): readonly string[] {
  const expected: readonly (readonly [string, unknown, unknown])[] = [
    ['KubeletConfiguration clusterDNS', kubelet['clusterDNS'], defaultDns(cluster)],
    ['KubeletConfiguration clusterDomain', kubelet['clusterDomain'], cluster.networking.dnsDomain],
    ['KubeletConfiguration staticPodPath', kubelet['staticPodPath'], PATHS.manifests],
    [
      'KubeletConfiguration authentication.x509.clientCAFile',
      (kubelet['authentication'] as { x509?: { clientCAFile?: string } } | undefined)?.x509?.clientCAFile,
      `${cluster.certificatesDir}/ca.crt`,
    ],
    [
      'KubeProxyConfiguration clientConnection.kubeconfig',
      (kubeProxy['clientConnection'] as { kubeconfig?: string } | undefined)?.kubeconfig,
      `${KUBE_PROXY_CONFIG_DIR}/kubeconfig.conf`,
    ],
    ['KubeProxyConfiguration clusterCIDR', kubeProxy['clusterCIDR'], cluster.networking.podSubnet],
  ];
  return expected
    .filter(([, actual, wanted]) => JSON.stringify(actual) !== JSON.stringify(wanted))
    .map(
      ([field, actual, wanted]) =>
        `${field}: ${JSON.stringify(actual)} is kept, although the cluster's value is ${JSON.stringify(wanted)}`,
    );
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

function isMapping(value: unknown): value is RawObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
