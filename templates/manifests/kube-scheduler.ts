import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { mergeArguments, resolveArgument } from '../arguments.ts';
import { formatImage } from '../images.ts';
import type { ControlPlaneInput, HostFacts } from '../input.ts';
import { kubeconfigMount } from './host-mounts.ts';
import { leaderElect } from './kube-controller-manager.ts';
import { buildStaticPod, commonSpec, mergeEnvs, mergeMounts, probeHost } from './pod.ts';

const KUBECONFIG = `${PATHS.kubernetes}/scheduler.conf`;

/** Static pod of the scheduler. */
export function buildSchedulerPod(input: ControlPlaneInput, facts: HostFacts): Pod {
  const { extraArgs, extraEnvs, extraVolumes } = input.cluster.scheduler;
  const defaults = {
    'authentication-kubeconfig': KUBECONFIG,
    'authorization-kubeconfig': KUBECONFIG,
    'bind-address': '127.0.0.1',
    kubeconfig: KUBECONFIG,
    'leader-elect': leaderElect(input.tkadm),
  };
  return buildStaticPod({
    ...commonSpec(input),
    name: 'kube-scheduler',
    image: formatImage('kube-scheduler', input),
    command: ['kube-scheduler', ...mergeArguments(defaults, extraArgs)],
    requests: { cpu: '100m' },
    mounts: mergeMounts([kubeconfigMount(KUBECONFIG)], extraVolumes),
    envs: mergeEnvs(facts.proxyEnvs, extraEnvs),
    probe: {
      host: probeHost(resolveArgument('bind-address', extraArgs, '127.0.0.1')),
      port: Number(resolveArgument('secure-port', extraArgs, '10259')),
      scheme: 'HTTPS',
      livenessPath: '/livez',
      readinessPath: '/readyz',
      startupPath: '/livez',
    },
  });
}
