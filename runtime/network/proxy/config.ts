import { load } from 'js-yaml';
import { TkadmError } from '../../base/errors.ts';
import { findUnfollowed } from '../../base/unfollowed-fields.ts';
import { parseIpv4Network } from '../address.ts';
import { FOLLOWED_FIELDS, UNFOLLOWED_FIELDS } from './config-fields.ts';

/** What the proxy takes from a KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1). */
export interface ProxyConfig {
  readonly kubeconfig: string;
  readonly clusterCidr: string | undefined;
  readonly hostnameOverride: string | undefined;
  readonly healthzBindAddress: string;
}

const KNOWN: ReadonlySet<string | undefined> = new Set([
  ...['apiVersion', 'kind'],
  ...[...FOLLOWED_FIELDS, ...UNFOLLOWED_FIELDS.map((field) => field.path)].map((path) => path.split('.')[0]),
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
  const refused = findUnfollowed(document, UNFOLLOWED_FIELDS)
    .filter((field) => field.isRefused)
    .map((field) => field.path)
    .concat(Object.keys(document).filter((name) => !KNOWN.has(name)));
  if (refused[0] !== undefined) {
    throw new TkadmError(
      'PROXY_CONFIG',
      `Cannot use field "${refused[0]}" of the proxy configuration: it is not supported`,
    );
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
