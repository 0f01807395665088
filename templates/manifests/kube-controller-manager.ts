import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { mergeArguments, resolveArgument } from '../arguments.ts';
import { formatImage } from '../images.ts';
import type { ControlPlaneInput, HostFacts } from '../input.ts';
import { caMounts, kubeconfigMount } from './host-mounts.ts';
import { buildStaticPod, commonSpec, directoryMount, mergeEnvs, mergeMounts, probeHost } from './pod.ts';

const KUBECONFIG = `${PATHS.kubernetes}/controller-manager.conf`;

/** Static pod of the controller manager. */
export function buildControllerManagerPod(input: ControlPlaneInput, facts: HostFacts): Pod {
  const { cluster } = input;
  const { extraArgs, extraEnvs, extraVolumes } = cluster.controllerManager;
  const mounts = [
    directoryMount('k8s-certs', cluster.certificatesDir),
    ...caMounts(facts),
    kubeconfigMount(KUBECONFIG),
  ];
  return buildStaticPod({
    ...commonSpec(input),
    name: 'kube-controller-manager',
    image: formatImage('kube-controller-manager', input),
    command: ['kube-controller-manager', ...mergeArguments(defaultArguments(input, facts), extraArgs)],
    requests: { cpu: '200m' },
    mounts: mergeMounts(mounts, extraVolumes),
    envs: mergeEnvs(facts.proxyEnvs, extraEnvs),
    probe: {
      host: probeHost(resolveArgument('bind-address', extraArgs, '127.0.0.1')),
      port: Number(resolveArgument('secure-port', extraArgs, '10257')),
      scheme: 'HTTPS',
      livenessPath: '/healthz',
      startupPath: '/healthz',
    },
  });
}

function defaultArguments(
  { cluster, tkadm }: ControlPlaneInput,
  { isExternalCa }: HostFacts,
): Readonly<Record<string, string | undefined>> {
  const pki = cluster.certificatesDir;
  const { podSubnet, serviceSubnet } = cluster.networking;
  return {
    'authentication-kubeconfig': KUBECONFIG,
    'authorization-kubeconfig': KUBECONFIG,
    'bind-address': '127.0.0.1',
    'client-ca-file': `${pki}/ca.crt`,
    'cluster-name': cluster.clusterName,
    'cluster-signing-cert-file': isExternalCa ? '' : `${pki}/ca.crt`,
    'cluster-signing-key-file': isExternalCa ? '' : `${pki}/ca.key`,
    controllers: '*,bootstrapsigner,tokencleaner',
    kubeconfig: KUBECONFIG,
    'leader-elect': leaderElect(tkadm),
    'requestheader-client-ca-file': `${pki}/front-proxy-ca.crt`,
    'root-ca-file': `${pki}/ca.crt`,
    'service-account-private-key-file': `${pki}/sa.key`,
    'use-service-account-credentials': 'true',
    ...(podSubnet
      ? {
          'allocate-node-cidrs': 'true',
          'cluster-cidr': podSubnet,
          'service-cluster-ip-range': serviceSubnet,
        }
      : {}),
  };
}

/**
 * With the embedded store there is one control-plane node for ever: an election would only write leases
 * and hold up a restart until the old lease ends.
 */
export function leaderElect({ store }: { readonly store: string }): 'true' | 'false' {
  return store === 'embedded' ? 'false' : 'true';
}
