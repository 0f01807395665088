import { PATHS } from '../../runtime/base/paths.ts';
import type { RawObject } from './documents.ts';
import { pick } from './fields.ts';
import { parseSubnets } from './network.ts';
import type { ClusterConfiguration, ControlPlaneComponent, LocalEtcd, TkadmConfiguration } from './types.ts';
import { resolveVersion } from './version-labels.ts';

/** Pods' addresses with the embedded engine, which has a pod network of its own (kubeadm has no default). */
const DEFAULT_POD_SUBNETS = { 4: '10.244.0.0/16', 6: 'fd00:10:244::/56' } as const;

/** ClusterConfiguration with every default; `podSubnet` only where the engine has a pod network. */
export function completeCluster(raw: RawObject, tkadm: TkadmConfiguration): ClusterConfiguration {
  const given = raw as Partial<ClusterConfiguration>;
  const serviceSubnet = given.networking?.serviceSubnet || '10.96.0.0/12';
  const podSubnet =
    given.networking?.podSubnet ||
    (tkadm.engine === 'embedded' ? defaultPodSubnet(serviceSubnet) : undefined);
  return {
    kubernetesVersion: resolveVersion(given.kubernetesVersion).version,
    clusterName: given.clusterName || 'kubernetes',
    ...pick(given, 'controlPlaneEndpoint'),
    certificatesDir: given.certificatesDir || PATHS.pki,
    imageRepository: given.imageRepository || 'registry.k8s.io',
    networking: {
      serviceSubnet,
      ...(podSubnet ? { podSubnet } : {}),
      dnsDomain: given.networking?.dnsDomain || 'cluster.local',
    },
    apiServer: { ...completeComponent(given.apiServer), certSANs: given.apiServer?.certSANs ?? [] },
    controllerManager: completeComponent(given.controllerManager),
    scheduler: completeComponent(given.scheduler),
    etcd: completeEtcd(given.etcd),
    dns: { disabled: false, ...given.dns },
    proxy: { disabled: false, ...given.proxy },
    featureGates: given.featureGates ?? {},
    encryptionAlgorithm:
      given.encryptionAlgorithm || (given.featureGates?.['PublicKeysECDSA'] ? 'ECDSA-P256' : 'RSA-2048'),
    certificateValidityPeriod: given.certificateValidityPeriod ?? '8760h0m0s',
    caCertificateValidityPeriod: given.caCertificateValidityPeriod ?? '87600h0m0s',
  };
}

function completeComponent(raw: Partial<ControlPlaneComponent> | undefined): ControlPlaneComponent {
  return {
    extraArgs: (raw?.extraArgs ?? []).map(({ name, value }) => ({ name, value: value ?? '' })),
    extraVolumes: raw?.extraVolumes ?? [],
    extraEnvs: raw?.extraEnvs ?? [],
  };
}

function completeEtcd(raw: ClusterConfiguration['etcd'] | undefined): ClusterConfiguration['etcd'] {
  const local: Partial<LocalEtcd> | undefined = raw?.local ?? (raw?.external ? undefined : {});
  const external = raw?.external;
  return {
    ...(local
      ? {
          local: {
            extraArgs: [],
            extraEnvs: [],
            serverCertSANs: [],
            peerCertSANs: [],
            ...local,
            dataDir: local.dataDir || '/var/lib/etcd',
          },
        }
      : {}),
    ...(external
      ? { external: { ...{ endpoints: [], caFile: '', certFile: '', keyFile: '' }, ...external } }
      : {}),
  };
}

function defaultPodSubnet(serviceSubnet: string): string {
  const families = parseSubnets(serviceSubnet).map((cidr) => cidr.family);
  return (families.length === 0 ? [4 as const] : families)
    .map((family) => DEFAULT_POD_SUBNETS[family])
    .join(',');
}
