import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { formatHostPort } from '../../runtime/base/cidr.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { mergeArguments, resolveArgument } from '../arguments.ts';
import { formatImage } from '../images.ts';
import type { ControlPlaneInput, HostFacts } from '../input.ts';
import { caMounts, externalEtcdMounts } from './host-mounts.ts';
import { buildStaticPod, commonSpec, directoryMount, mergeEnvs, mergeMounts, probeHost } from './pod.ts';

/** Static pod of the API server. */
export function buildApiServerPod(input: ControlPlaneInput, facts: HostFacts): Pod {
  const { cluster, localAPIEndpoint } = input;
  const { advertiseAddress, bindPort } = localAPIEndpoint;
  const { extraArgs, extraEnvs, extraVolumes } = cluster.apiServer;
  const port = Number(resolveArgument('secure-port', extraArgs, String(bindPort)));
  const bindAddress = resolveArgument('bind-address', extraArgs, '');
  return buildStaticPod({
    ...commonSpec(input),
    name: 'kube-apiserver',
    image: formatImage('kube-apiserver', input),
    command: ['kube-apiserver', ...mergeArguments(defaultArguments(input), extraArgs)],
    annotations: {
      'kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint': formatHostPort(
        advertiseAddress,
        bindPort,
      ),
    },
    requests: { cpu: '250m' },
    mounts: mergeMounts(mountsOf(input, facts), extraVolumes),
    envs: mergeEnvs(facts.proxyEnvs, extraEnvs),
    probe: {
      host: bindAddress === '' ? advertiseAddress : probeHost(bindAddress),
      port,
      scheme: 'HTTPS',
      livenessPath: '/livez',
      readinessPath: '/readyz',
      startupPath: '/livez',
    },
  });
}

function defaultArguments(input: ControlPlaneInput): Readonly<Record<string, string | undefined>> {
  const { cluster, localAPIEndpoint } = input;
  const pki = cluster.certificatesDir;
  const hasAuthorizationConfig = cluster.apiServer.extraArgs.some(
    (arg) => arg.name === 'authorization-config',
  );
  return {
    'advertise-address': localAPIEndpoint.advertiseAddress,
    'allow-privileged': 'true',
    'authorization-mode': hasAuthorizationConfig ? undefined : 'Node,RBAC',
    'client-ca-file': `${pki}/ca.crt`,
    'enable-admission-plugins': 'NodeRestriction',
    'enable-bootstrap-token-auth': 'true',
    'kubelet-client-certificate': `${pki}/apiserver-kubelet-client.crt`,
    'kubelet-client-key': `${pki}/apiserver-kubelet-client.key`,
    'kubelet-preferred-address-types': 'InternalIP,ExternalIP,Hostname',
    'proxy-client-cert-file': `${pki}/front-proxy-client.crt`,
    'proxy-client-key-file': `${pki}/front-proxy-client.key`,
    'requestheader-allowed-names': 'front-proxy-client',
    'requestheader-client-ca-file': `${pki}/front-proxy-ca.crt`,
    'requestheader-extra-headers-prefix': 'X-Remote-Extra-',
    'requestheader-group-headers': 'X-Remote-Group',
    'requestheader-username-headers': 'X-Remote-User',
    'secure-port': String(localAPIEndpoint.bindPort),
    'service-account-issuer': `https://kubernetes.default.svc.${cluster.networking.dnsDomain}`,
    'service-account-key-file': `${pki}/sa.pub`,
    'service-account-signing-key-file': `${pki}/sa.key`,
    'service-cluster-ip-range': cluster.networking.serviceSubnet,
    'tls-cert-file': `${pki}/apiserver.crt`,
    'tls-private-key-file': `${pki}/apiserver.key`,
    ...storeArguments(input),
  };
}

function storeArguments({
  cluster,
  localAPIEndpoint,
  tkadm,
}: ControlPlaneInput): Readonly<Record<string, string | undefined>> {
  if (tkadm.store === 'embedded') return { 'store-dir': PATHS.store };
  const { external, local } = cluster.etcd;
  if (external) {
    return {
      'etcd-servers': external.endpoints.join(','),
      'etcd-cafile': external.caFile || undefined,
      'etcd-certfile': external.certFile || undefined,
      'etcd-keyfile': external.keyFile || undefined,
    };
  }
  const pki = cluster.certificatesDir;
  // As etcd listens: on the loopback of the family of its own address.
  const isIpv6 = localAPIEndpoint.advertiseAddress.includes(':');
  return {
    'etcd-servers': resolveArgument(
      'advertise-client-urls',
      local?.extraArgs ?? [],
      `https://${formatHostPort(isIpv6 ? '::1' : '127.0.0.1', 2379)}`,
    ),
    'etcd-cafile': `${pki}/etcd/ca.crt`,
    'etcd-certfile': `${pki}/apiserver-etcd-client.crt`,
    'etcd-keyfile': `${pki}/apiserver-etcd-client.key`,
  };
}

function mountsOf(input: ControlPlaneInput, facts: HostFacts) {
  const { cluster, tkadm } = input;
  return [
    directoryMount('k8s-certs', cluster.certificatesDir),
    ...caMounts(facts),
    ...(tkadm.store === 'embedded' ? [directoryMount('store', PATHS.store, false)] : []),
    ...externalEtcdMounts(input),
  ];
}
