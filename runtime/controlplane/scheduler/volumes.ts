import type { PersistentVolume, PersistentVolumeClaim, Pod } from 'kubernetes-types/core/v1.d.ts';
import { PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES } from '../../api/kinds.ts';
import { matchesNodeSelectorTerm } from '../component/node-fit.ts';
import type { View } from '../component/view.ts';
import { findVolume } from '../component/volume-match.ts';
import type { Rejection } from './filters.ts';
import type { NodeInfo } from './node-info.ts';
import type { PodInfo } from './pod-info.ts';

/** Claims that get a volume once their pod has a node. */
const NO_PROVISIONER = 'kubernetes.io/no-provisioner';

/** Names of the claims that the pod mounts, those of its ephemeral volumes included. */
export function claimNamesOf({ spec, metadata }: Pod): string[] {
  return (spec?.volumes ?? []).flatMap((volume) => {
    if (volume.persistentVolumeClaim) return [volume.persistentVolumeClaim.claimName];
    return volume.ephemeral ? [`${metadata?.name}-${volume.name}`] : [];
  });
}

/** Reasons by which the pod's claims keep it off the node. */
export function rejectByVolumes({ pod }: PodInfo, nodeInfo: NodeInfo, view: View): readonly Rejection[] {
  for (const name of claimNamesOf(pod)) {
    const claim = view.get(PERSISTENT_VOLUME_CLAIMS, `${pod.metadata?.namespace}/${name}`);
    const reason = claim ? rejectClaim(claim, nodeInfo, view) : `persistentvolumeclaim "${name}" not found`;
    if (reason !== undefined) return [{ reason, isFinal: true }];
  }
  return [];
}

function rejectClaim(claim: PersistentVolumeClaim, nodeInfo: NodeInfo, view: View): string | undefined {
  if (claim.metadata?.deletionTimestamp) {
    return `persistentvolumeclaim "${claim.metadata.name}" is being deleted`;
  }
  const { volumeName } = claim.spec ?? {};
  if (volumeName) {
    const volume = view.get(PERSISTENT_VOLUMES, volumeName);
    if (!volume) return `persistentvolume "${volumeName}" not found`;
    return fitsNode(volume, nodeInfo) ? undefined : "node(s) didn't match PersistentVolume's node affinity";
  }
  if (!isDelayed(claim, view)) return 'pod has unbound immediate PersistentVolumeClaims';
  const storageClass = view.get(STORAGE_CLASSES, claim.spec?.storageClassName ?? '');
  if (findVolumeForNode(claim, nodeInfo, view)) return undefined;
  if (storageClass?.provisioner && storageClass.provisioner !== NO_PROVISIONER) return undefined;
  return "node(s) didn't find available persistent volumes to bind";
}

/** Whether the claim waits for its first pod (volumeBindingMode WaitForFirstConsumer). */
function isDelayed(claim: PersistentVolumeClaim, view: View): boolean {
  const storageClass = view.get(STORAGE_CLASSES, claim.spec?.storageClassName ?? '');
  return storageClass?.volumeBindingMode === 'WaitForFirstConsumer';
}

/** A free volume for the claim that the node can reach. */
export function findVolumeForNode(
  claim: PersistentVolumeClaim,
  nodeInfo: NodeInfo,
  view: View,
): PersistentVolume | undefined {
  const volumes = view.list(PERSISTENT_VOLUMES).filter((volume) => fitsNode(volume, nodeInfo));
  return findVolume(claim, volumes);
}

function fitsNode({ spec }: PersistentVolume, { node }: NodeInfo): boolean {
  const required = spec?.nodeAffinity?.required;
  if (!required) return true;
  return node !== undefined && required.nodeSelectorTerms.some((term) => matchesNodeSelectorTerm(term, node));
}
