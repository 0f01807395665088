import type { KubeObject } from '../../runtime/api/kinds.ts';
import { parseDuration } from '../../runtime/base/flags.ts';
import { controlPlaneServer } from '../../templates/kubeconfig.ts';
import { renderYaml } from '../../templates/yaml.ts';
import type { BootstrapTokenConfig } from '../config/types.ts';
import { buildTokenSecret } from '../tokens/token.ts';
import { buildBootstrapRbacObjects, buildClusterAdminsBinding } from './bootstrap-rbac.ts';
import { buildKubeadmConfigObjects, buildKubeletConfigObjects } from './cluster-config.ts';
import { buildCoreDnsObjects } from './coredns.ts';
import { buildKubeProxyObjects } from './kube-proxy.ts';
import { configMap, KUBE_PUBLIC, type ObjectInput } from './objects.ts';

/** Every object of both add-ons. */
export function buildAddonObjects(input: ObjectInput): readonly KubeObject[] {
  return [...buildCoreDnsObjects(input), ...buildKubeProxyObjects(input)];
}

/** The objects of the phases upload-config and bootstrap-token, without token Secrets and cluster-info. */
export function buildBootstrapObjects(input: ObjectInput): readonly KubeObject[] {
  return [
    buildClusterAdminsBinding(),
    ...buildKubeadmConfigObjects(input),
    ...buildKubeletConfigObjects(input),
    ...buildBootstrapRbacObjects(),
  ];
}

/** ConfigMap kube-public/cluster-info: address and CA for nodes that join; the bootstrap signer signs it. */
export function buildClusterInfo(input: ObjectInput, caPem: string): KubeObject {
  const kubeconfig = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: '',
        cluster: {
          server: controlPlaneServer(input),
          'certificate-authority-data': Buffer.from(caPem).toString('base64'),
        },
      },
    ],
    contexts: null,
    'current-context': '',
    preferences: {},
    users: null,
  };
  return configMap({ name: 'cluster-info', namespace: KUBE_PUBLIC }, { kubeconfig: renderYaml(kubeconfig) });
}

/** The Secret of each bootstrap token of the configuration. @throws TOKEN_INVALID */
export function buildTokenSecrets(tokens: readonly BootstrapTokenConfig[], now: Date): readonly KubeObject[] {
  return tokens.map((token) =>
    buildTokenSecret({
      token: token.token,
      description: token.description,
      expiresAt: tokenExpiry(token, now),
      usages: token.usages,
      groups: token.groups,
    }),
  );
}

/** When a token ends; undefined: never. */
export function tokenExpiry(
  token: Pick<BootstrapTokenConfig, 'ttl' | 'expires'>,
  now: Date,
): Date | undefined {
  if (token.expires !== undefined) return new Date(token.expires);
  const ttlMs = token.ttl === undefined ? 0 : parseDuration(token.ttl);
  return ttlMs === 0 ? undefined : new Date(now.getTime() + ttlMs);
}
