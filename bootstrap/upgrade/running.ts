import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { CONFIG_MAPS, DAEMON_SETS, DEPLOYMENTS, NODES, PODS } from '../../runtime/api/kinds.ts';
import { VERSION } from '../../runtime/base/version.ts';
import { IMAGE_TAGS } from '../../templates/images.ts';
import { isGenerated } from '../addons/component-hash.ts';
import { KUBE_SYSTEM } from '../addons/objects.ts';
import type { InitConfig } from '../config/types.ts';

/** A program of the cluster as it is and as it would be. */
export interface ComponentPlan {
  readonly name: string;
  /** '' for what belongs to no one node. */
  readonly nodeName: string;
  readonly currentVersion: string;
  readonly newVersion: string;
}

/** A configuration document that other programs read, in kubeadm's words. */
export interface ConfigVersion {
  readonly group: string;
  readonly currentVersion: string;
  readonly preferredVersion: string;
  readonly manualUpgradeRequired: boolean;
}

/** What runs, and what would. */
export interface RunningCluster {
  /** Upgraded by `upgrade apply`. */
  readonly components: readonly ComponentPlan[];
  /** Upgraded by `upgrade node`, on each node. */
  readonly nodes: readonly ComponentPlan[];
  readonly configVersions: readonly ConfigVersion[];
  /** Generated documents of other programs that somebody has changed: an upgrade keeps them. */
  readonly kept: readonly string[];
}

const COMPONENTS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const;

/** Asks the cluster for the versions of everything. */
export async function readRunning(
  api: ApiClient,
  { cluster, tkadm }: Pick<InitConfig, 'cluster' | 'tkadm'>,
): Promise<RunningCluster> {
  const target = cluster.kubernetesVersion;
  const [nodes, pods, kubeProxy, dns] = await Promise.all([
    api.list(NODES),
    api.list(PODS, { namespace: KUBE_SYSTEM, labelSelector: 'tier=control-plane' }),
    api.find(DAEMON_SETS, { namespace: KUBE_SYSTEM, name: 'kube-proxy' }),
    api.find(DEPLOYMENTS, { namespace: KUBE_SYSTEM, name: 'coredns' }),
  ]);
  const dnsTarget = tkadm.engine === 'embedded' ? target : (cluster.dns.imageTag ?? IMAGE_TAGS.coredns);
  const addon = (name: string, image: string | undefined, newVersion: string): readonly ComponentPlan[] =>
    image === undefined ? [] : [{ name, nodeName: '', currentVersion: tagOf(image), newVersion }];
  const etcdTarget = cluster.etcd.local?.imageTag ?? IMAGE_TAGS.etcd;
  return {
    components: [
      ...COMPONENTS.flatMap((name) => podPlans(pods.items, name, target)),
      ...addon('kube-proxy', kubeProxy?.spec?.template.spec?.containers[0]?.image, target),
      ...addon('CoreDNS', dns?.spec?.template.spec?.containers[0]?.image, dnsTarget),
      ...podPlans(pods.items, 'etcd', etcdTarget),
    ],
    nodes: nodes.items.flatMap((node) => nodePlans(node, target)),
    ...(await readConfigVersions(api)),
  };
}

function podPlans(pods: readonly Pod[], name: string, newVersion: string): readonly ComponentPlan[] {
  return pods
    .filter(({ metadata }) => metadata?.labels?.['component'] === name)
    .map(({ spec }) => ({
      name,
      nodeName: spec?.nodeName ?? '',
      currentVersion: tagOf(spec?.containers[0]?.image ?? ''),
      newVersion,
    }));
}

/** The agent, and the package that its programs are of. */
function nodePlans({ metadata, status }: Node, target: string): readonly ComponentPlan[] {
  const nodeName = metadata?.name ?? '';
  const { kubeletVersion = '', containerRuntimeVersion = '' } = status?.nodeInfo ?? {};
  const own = /^tkadm:\/\/(.*)$/.exec(containerRuntimeVersion)?.[1];
  return [
    { name: 'kubelet', nodeName, currentVersion: kubeletVersion, newVersion: target },
    ...(own === undefined ? [] : [{ name: 'tkadm', nodeName, currentVersion: own, newVersion: VERSION }]),
  ];
}

function tagOf(image: string): string {
  return image.slice(image.lastIndexOf(':') + 1);
}

const DOCUMENTS = [
  { group: 'kubelet.config.k8s.io', version: 'v1beta1', map: 'kubelet-config', key: 'kubelet' },
  { group: 'kubeproxy.config.k8s.io', version: 'v1alpha1', map: 'kube-proxy', key: 'config.conf' },
] as const;

async function readConfigVersions(api: ApiClient): Promise<Pick<RunningCluster, 'configVersions' | 'kept'>> {
  const kept: string[] = [];
  const versions: ConfigVersion[] = [];
  for (const { group, version, map, key } of DOCUMENTS) {
    const live = await api.find(CONFIG_MAPS, { namespace: KUBE_SYSTEM, name: map });
    const current = new RegExp(`^apiVersion: ${group}/(\\S+)`, 'm').exec(live?.data?.[key] ?? '')?.[1];
    if (!live || current === undefined) continue;
    if (!isGenerated(live)) kept.push(`${KUBE_SYSTEM}/${map}`);
    versions.push({
      group,
      currentVersion: current,
      preferredVersion: version,
      manualUpgradeRequired: current !== version,
    });
  }
  return { configVersions: versions, kept };
}
