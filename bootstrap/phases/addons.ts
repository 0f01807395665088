import type { KubeObject } from '../../runtime/api/kinds.ts';
import { selectProxyEnvs } from '../../templates/input.ts';
import { buildCoreDnsObjects, isDefaultCorefile } from '../addons/coredns.ts';
import { buildKubeProxyObjects } from '../addons/kube-proxy.ts';
import { buildPodNetworkObjects } from '../addons/pod-network.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';
import type { InitContext } from './init-context.ts';
import { type ObjectContext, planObjects } from './objects.ts';

/** The rights of the pod network, cluster DNS and the service proxy. */
export const addonPhases: readonly Phase<InitContext>[] = [
  {
    name: 'addon/pod-network',
    summary: 'Install DNS and the service proxy',
    after: ['wait-control-plane'],
    plan: async (context) => planObjects(context, buildPodNetworkObjects()),
  },
  {
    name: 'addon/coredns',
    summary: 'Install DNS and the service proxy',
    after: ['wait-control-plane'],
    idle: ({ config }) => (config.cluster.dns.disabled ? 'the configuration has dns.disabled' : undefined),
    async plan(context) {
      return planCoreDns(context, buildCoreDnsObjects(context.config, await context.patches()));
    },
  },
  {
    name: 'addon/kube-proxy',
    summary: 'Install DNS and the service proxy',
    after: ['wait-control-plane'],
    idle: ({ config }) =>
      config.cluster.proxy.disabled ? 'the configuration has proxy.disabled' : undefined,
    plan: async (context) =>
      planObjects(
        context,
        buildKubeProxyObjects({ ...context.config, proxyEnvs: selectProxyEnvs(context.env) }),
      ),
  },
];

/** A Deployment that is there keeps its number of replicas, and a Corefile that a user changed is kept. */
async function planCoreDns(
  context: ObjectContext,
  objects: readonly KubeObject[],
): Promise<readonly Action[]> {
  const wanted = await Promise.all(
    objects.map(async (object) => {
      if (object.kind !== 'Deployment' && object.kind !== 'ConfigMap') return object;
      const live = await context.find(object);
      if (!live) return object;
      return object.kind === 'Deployment' ? withReplicasOf(live, object) : keepCorefile(live, object);
    }),
  );
  return planObjects(context, wanted);
}

interface Loose {
  readonly data?: { readonly Corefile?: string };
  readonly spec?: { readonly replicas?: number };
}

function withReplicasOf(live: KubeObject, object: KubeObject): KubeObject {
  const replicas = (live as Loose).spec?.replicas;
  return {
    ...object,
    spec: { ...(object as Loose).spec, ...(replicas === undefined ? {} : { replicas }) },
  } as KubeObject;
}

function keepCorefile(live: KubeObject, object: KubeObject): KubeObject {
  const corefile = (live as Loose).data?.Corefile;
  return corefile === undefined || isDefaultCorefile(corefile)
    ? object
    : ({ ...object, data: { Corefile: corefile } } as KubeObject);
}
