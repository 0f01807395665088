import type { KubeObject } from '../../runtime/api/kinds.ts';
import { renderYaml } from '../../templates/yaml.ts';
import { apiVersionOf } from '../config/kinds.ts';
import { hashAnnotation } from './component-hash.ts';
import {
  BOOTSTRAPPERS_GROUP,
  configMap,
  getRule,
  KUBE_SYSTEM,
  NODES_GROUP,
  type ObjectInput,
  roleWithBinding,
  type Subject,
} from './objects.ts';

const READERS: readonly Subject[] = [
  { kind: 'Group', name: BOOTSTRAPPERS_GROUP },
  { kind: 'Group', name: NODES_GROUP },
];

/**
 * ConfigMap kube-system/kubeadm-config: the ClusterConfiguration, and under a key of its own tkadm's
 * document, so that joining nodes know the engine. With the right for joining nodes to read it.
 */
export function buildKubeadmConfigObjects(input: ObjectInput): readonly KubeObject[] {
  const cluster = {
    apiVersion: apiVersionOf('ClusterConfiguration'),
    kind: 'ClusterConfiguration',
    ...input.cluster,
  };
  const tkadm = {
    apiVersion: apiVersionOf('TkadmConfiguration'),
    kind: 'TkadmConfiguration',
    ...input.tkadm,
  };
  return [
    configMap(
      { name: 'kubeadm-config', namespace: KUBE_SYSTEM },
      { ClusterConfiguration: renderYaml(cluster), TkadmConfiguration: renderYaml(tkadm) },
    ),
    ...roleWithBinding(
      { name: 'kubeadm:nodes-kubeadm-config', namespace: KUBE_SYSTEM },
      [getRule('configmaps', 'kubeadm-config')],
      READERS,
    ),
  ];
}

/** ConfigMap kube-system/kubelet-config, with the right for joining nodes to read it. */
export function buildKubeletConfigObjects(input: ObjectInput): readonly KubeObject[] {
  const { resolvConf: _, ...shared } = input.kubelet as { readonly resolvConf?: string };
  const data = { kubelet: renderYaml(input.userSupplied.kubelet ? input.kubelet : shared) };
  return [
    configMap({ name: 'kubelet-config', namespace: KUBE_SYSTEM }, data, {
      ...(input.userSupplied.kubelet ? {} : { annotations: hashAnnotation(data) }),
    }),
    ...roleWithBinding(
      { name: 'kubeadm:kubelet-config', namespace: KUBE_SYSTEM },
      [getRule('configmaps', 'kubelet-config')],
      READERS,
    ),
  ];
}
