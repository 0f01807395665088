import { buildKubeadmConfigObjects, buildKubeletConfigObjects } from '../addons/cluster-config.ts';
import type { Phase } from '../workflow/phase.ts';
import type { InitContext } from './init-context.ts';
import { planObjects } from './objects.ts';

/** Keeps the cluster's configuration in the cluster, for nodes that join and for later changes. */
export const uploadConfigPhases: readonly Phase<InitContext>[] = [
  {
    name: 'upload-config/kubeadm',
    summary: 'Store the configuration in the cluster',
    after: ['wait-control-plane'],
    plan: async (context) => planObjects(context, buildKubeadmConfigObjects(context.config)),
  },
  {
    name: 'upload-config/kubelet',
    summary: 'Store the configuration in the cluster',
    after: ['wait-control-plane'],
    plan: async (context) => planObjects(context, buildKubeletConfigObjects(context.config)),
  },
];
