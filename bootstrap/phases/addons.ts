import type { KubeObject } from '../../runtime/api/kinds.ts';
import { readPatches } from '../../templates/patches.ts';
import { buildCoreDnsObjects } from '../addons/coredns.ts';
import { buildKubeProxyObjects } from '../addons/kube-proxy.ts';
import { buildPodNetworkObjects } from '../addons/pod-network.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';
import type { InitContext } from './init-context.ts';

/** The rights of the pod network, cluster DNS and the service proxy. */
export const addonPhases: readonly Phase<InitContext>[] = [
  {
    name: 'addon/pod-network',
    summary: 'Install DNS and the service proxy',
    after: ['wait-control-plane'],
    plan: async () => applyAll(buildPodNetworkObjects()),
  },
  {
    name: 'addon/coredns',
    summary: 'Install DNS and the service proxy',
    after: ['wait-control-plane'],
    plan: async ({ config, host }) =>
      applyAll(buildCoreDnsObjects(config, await readPatches(host, config.patchesDirectory))),
  },
  {
    name: 'addon/kube-proxy',
    summary: 'Install DNS and the service proxy',
    after: ['wait-control-plane'],
    plan: async ({ config }) =>
      config.cluster.proxy.disabled ? [] : applyAll(buildKubeProxyObjects(config)),
  },
];

/** Objects that a second run makes as they should be. */
export function applyAll(objects: readonly KubeObject[]): readonly Action[] {
  return objects.map((object) => ({ kind: 'apply-object', object, existing: 'replace' }));
}
