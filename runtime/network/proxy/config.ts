import { load } from 'js-yaml';
import { TkadmError } from '../../base/errors.ts';
import { parseIpv4Network } from '../address.ts';

/** What the proxy takes from a KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1). */
export interface ProxyConfig {
  readonly kubeconfig: string;
  readonly clusterCidr: string | undefined;
  readonly hostnameOverride: string | undefined;
  readonly healthzBindAddress: string;
}

/** Fields that change nothing here; every other one is refused when it is set. */
const IGNORED = new Set([
  'apiVersion',
  'kind',
  'bindAddress',
  'bindAddressHardFail',
  'configSyncPeriod',
  'conntrack',
  'detectLocal',
  'detectLocalMode',
  'enableProfiling',
  'iptables',
  'ipvs',
  'nftables',
  'logging',
  'metricsBindAddress',
  'oomScoreAdj',
  'portRange',
  'showHiddenMetricsForVersion',
  'windowsRunAsService',
  'winkernel',
]);
const USED = new Set([
  'clientConnection',
  'clusterCIDR',
  'hostnameOverride',
  'healthzBindAddress',
  'mode',
  'featureGates',
  'nodePortAddresses',
]);

/**
 * Reads a KubeProxyConfiguration document.
 * @throws PROXY_CONFIG for a field or mode that this proxy does not have.
 */
export function parseProxyConfig(text: string): ProxyConfig {
  const document = load(text) as Record<string, unknown>;
  if (document?.['kind'] !== 'KubeProxyConfiguration') {
    throw new TkadmError(
      'PROXY_CONFIG',
      'Cannot use the proxy configuration: it is no "KubeProxyConfiguration"',
    );
  }
  const isSet = (value: unknown) => value !== null && value !== undefined && value !== '' && !isEmpty(value);
  for (const [name, value] of Object.entries(document)) {
    const isKnown = IGNORED.has(name) || USED.has(name);
    const isRefused = !isKnown || ((name === 'featureGates' || name === 'nodePortAddresses') && isSet(value));
    if (isRefused && isSet(value)) {
      throw new TkadmError(
        'PROXY_CONFIG',
        `Cannot use field "${name}" of the proxy configuration: it is not supported`,
      );
    }
  }
  const mode = String(document['mode'] ?? '');
  if (mode !== '' && mode !== 'nftables') {
    throw new TkadmError('PROXY_CONFIG', `Cannot use proxy mode "${mode}": only "nftables" is supported`);
  }
  const clusterCidr = (document['clusterCIDR'] as string | undefined) || undefined;
  if (clusterCidr !== undefined) checkClusterCidr(clusterCidr);
  const connection = (document['clientConnection'] ?? {}) as { kubeconfig?: string };
  return {
    kubeconfig: connection.kubeconfig ?? '',
    clusterCidr,
    hostnameOverride: (document['hostnameOverride'] as string | undefined) || undefined,
    healthzBindAddress: (document['healthzBindAddress'] as string | undefined) || '0.0.0.0:10256',
  };
}

/** True for a list or mapping without anything in it. */
function isEmpty(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}

/** @throws PROXY_CONFIG for IPv6 and for several networks. */
export function checkClusterCidr(clusterCidr: string): void {
  try {
    parseIpv4Network(clusterCidr);
  } catch (cause) {
    throw new TkadmError(
      'PROXY_CONFIG',
      `Cannot use clusterCIDR "${clusterCidr}": only one IPv4 network is supported`,
      { cause },
    );
  }
}
