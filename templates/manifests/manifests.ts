import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import type { ControlPlaneInput, HostFacts } from '../input.ts';
import { applyPatches, NO_PATCHES, type PatchSet, type PatchTarget } from '../patches.ts';
import { renderYaml } from '../yaml.ts';
import { buildEtcdPod } from './etcd.ts';
import { buildApiServerPod } from './kube-apiserver.ts';
import { buildControllerManagerPod } from './kube-controller-manager.ts';
import { buildSchedulerPod } from './kube-scheduler.ts';

export interface ManifestRow {
  /** The pod's name and the file's, without ".yaml". */
  readonly name: PatchTarget;
  /** The phase of init that writes it. */
  readonly phase: string;
  readonly build: (input: ControlPlaneInput, facts: HostFacts) => Pod;
}

/** The static pods of a control-plane node; etcd's only with an etcd that this installer runs. */
export const MANIFESTS = [
  { name: 'etcd', phase: 'etcd/local', build: buildEtcdPod },
  { name: 'kube-apiserver', phase: 'control-plane/apiserver', build: buildApiServerPod },
  {
    name: 'kube-controller-manager',
    phase: 'control-plane/controller-manager',
    build: buildControllerManagerPod,
  },
  { name: 'kube-scheduler', phase: 'control-plane/scheduler', build: buildSchedulerPod },
] as const satisfies readonly ManifestRow[];

/** The digest of the node bundle that a static pod runs from. */
export const BUNDLE_ANNOTATION = 'tkadm.io/bundle';

/** "/etc/kubernetes/manifests/kube-apiserver.yaml" */
export function manifestPath({ name }: Pick<ManifestRow, 'name'>): string {
  return `${PATHS.manifests}/${name}.yaml`;
}

/** True when this installer runs the cluster's etcd. */
export function hasLocalEtcd({ cluster, tkadm }: Pick<ControlPlaneInput, 'cluster' | 'tkadm'>): boolean {
  return tkadm.store === 'etcd' && cluster.etcd.external === undefined;
}

/** The manifests that a node needs. */
export function selectManifests(input: ControlPlaneInput): readonly ManifestRow[] {
  return MANIFESTS.filter((row) => row.name !== 'etcd' || hasLocalEtcd(input));
}

/** YAML of a manifest's file, with the user's patches. @throws PATCH_INVALID */
export function renderManifest(
  row: ManifestRow,
  input: ControlPlaneInput,
  facts: HostFacts,
  patches: PatchSet = NO_PATCHES,
): string {
  return renderYaml(applyPatches(withBundle(row.build(input, facts), input, facts), row.name, patches));
}

/** Says which bundle the pod's program comes from, as its image's tag is that of the Kubernetes version alone. */
function withBundle(pod: Pod, { tkadm }: ControlPlaneInput, { bundleId }: HostFacts): Pod {
  const isBundled = pod.spec?.containers[0]?.image?.startsWith(`${tkadm.imageRepository}/`);
  if (bundleId === undefined || tkadm.engine !== 'embedded' || !isBundled) return pod;
  const annotations = { ...pod.metadata?.annotations, [BUNDLE_ANNOTATION]: bundleId };
  return { ...pod, metadata: { ...pod.metadata, annotations } };
}
