import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { formatHostPort } from '../../runtime/base/cidr.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { mergeArguments, resolveArgument } from '../arguments.ts';
import { formatImage } from '../images.ts';
import type { ControlPlaneInput, HostFacts } from '../input.ts';
import { buildStaticPod, commonSpec, directoryMount } from './pod.ts';

const CLIENT_PORT = 2379;
const PEER_PORT = 2380;

/**
 * Static pod of a stacked etcd member.
 * @throws TEMPLATE_INVALID with an external etcd.
 */
export function buildEtcdPod(input: ControlPlaneInput, facts: HostFacts): Pod {
  const { cluster, localAPIEndpoint } = input;
  const { local } = cluster.etcd;
  if (!local) throw new TkadmError('TEMPLATE_INVALID', 'Cannot build the etcd manifest: etcd is external');
  const clientUrl = `https://${formatHostPort(localAPIEndpoint.advertiseAddress, CLIENT_PORT)}`;
  return buildStaticPod({
    ...commonSpec(input),
    isQuick: false,
    name: 'etcd',
    image: formatImage('etcd', input),
    command: ['etcd', ...mergeArguments(defaultArguments(input, facts), local.extraArgs)],
    annotations: {
      'kubeadm.kubernetes.io/etcd.advertise-client-urls': resolveArgument(
        'advertise-client-urls',
        local.extraArgs,
        clientUrl,
      ),
    },
    requests: { cpu: '100m', memory: '100Mi' },
    mounts: [
      directoryMount('etcd-certs', `${cluster.certificatesDir}/etcd`, false),
      directoryMount('etcd-data', local.dataDir, false),
    ],
    envs: local.extraEnvs,
    probe: {
      ...metricsEndpoint(input),
      livenessPath: '/livez',
      readinessPath: '/readyz',
      startupPath: '/readyz',
    },
  });
}

function defaultArguments(input: ControlPlaneInput, { etcdMembers }: HostFacts): Record<string, string> {
  const { cluster, localAPIEndpoint, nodeRegistration } = input;
  const pki = `${cluster.certificatesDir}/etcd`;
  const address = localAPIEndpoint.advertiseAddress;
  const clientUrl = `https://${formatHostPort(address, CLIENT_PORT)}`;
  const peerUrl = `https://${formatHostPort(address, PEER_PORT)}`;
  const members = etcdMembers ?? [{ name: nodeRegistration.name, peerUrl }];
  return {
    'advertise-client-urls': clientUrl,
    'cert-file': `${pki}/server.crt`,
    'client-cert-auth': 'true',
    'data-dir': cluster.etcd.local!.dataDir,
    'feature-gates': 'InitialCorruptCheck=true',
    'initial-advertise-peer-urls': peerUrl,
    'initial-cluster': members.map((member) => `${member.name}=${member.peerUrl}`).join(','),
    ...(etcdMembers ? { 'initial-cluster-state': 'existing' } : {}),
    'key-file': `${pki}/server.key`,
    'listen-client-urls': `https://${formatHostPort(loopback(address), CLIENT_PORT)},${clientUrl}`,
    'listen-metrics-urls': `http://${formatHostPort(loopback(address), 2381)}`,
    'listen-peer-urls': peerUrl,
    name: nodeRegistration.name,
    'peer-cert-file': `${pki}/peer.crt`,
    'peer-client-cert-auth': 'true',
    'peer-key-file': `${pki}/peer.key`,
    'peer-trusted-ca-file': `${pki}/ca.crt`,
    'snapshot-count': '10000',
    'trusted-ca-file': `${pki}/ca.crt`,
    'watch-progress-notify-interval': '5s',
  };
}

/** Where etcd answers probes: the first metrics URL. */
function metricsEndpoint({ cluster, localAPIEndpoint }: ControlPlaneInput) {
  const fallback = `http://${formatHostPort(loopback(localAPIEndpoint.advertiseAddress), 2381)}`;
  const [first = fallback] = resolveArgument(
    'listen-metrics-urls',
    cluster.etcd.local?.extraArgs ?? [],
    fallback,
  ).split(',');
  const url = new URL(URL.canParse(first) ? first : fallback);
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port || 2381),
    scheme: url.protocol === 'https:' ? ('HTTPS' as const) : ('HTTP' as const),
  };
}

function loopback(address: string): string {
  return address.includes(':') ? '::1' : '127.0.0.1';
}
