import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS } from '../../../api/kinds.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { collectPodReferences, collectVolumeSecrets, type PodReferences } from './pod-references.ts';

/** What a node may touch of these sorts. */
export type NodeReference =
  | 'pods'
  | 'secrets'
  | 'configmaps'
  | 'persistentvolumeclaims'
  | 'persistentvolumes'
  | 'resourceclaims'
  | 'serviceaccounts';

/** Which objects the pods of each node refer to, kept up to date by the reader's change feed. */
export interface NodeGraph {
  /** True when a pod bound to the node refers to this object (or is it). */
  isReferenced(nodeName: string, what: NodeReference, namespace: string, name: string): boolean;
  close(): void;
}

interface BoundPod extends PodReferences {
  readonly namespace: string;
  readonly name: string;
}

export function createNodeGraph(reader: ObjectReader): NodeGraph {
  const podsOf = new Map<string, Map<string, BoundPod>>();
  const nodeOf = new Map<string, string>();
  function update(pod: Pod, isThere: boolean): void {
    const { namespace = '', name = '' } = pod.metadata ?? {};
    const id = `${namespace}/${name}`;
    const previous = nodeOf.get(id);
    if (previous !== undefined) {
      podsOf.get(previous)?.delete(id);
      if (podsOf.get(previous)?.size === 0) podsOf.delete(previous);
      nodeOf.delete(id);
    }
    const node = pod.spec?.nodeName;
    if (!isThere || !node) return;
    nodeOf.set(id, node);
    const pods = podsOf.get(node) ?? new Map<string, BoundPod>();
    podsOf.set(node, pods);
    pods.set(id, { namespace, name, ...collectPodReferences(pod) });
  }
  for (const pod of reader.list(PODS)) update(pod, true);
  const close = reader.subscribe(PODS, (pod, type) => update(pod, type !== 'DELETED'));
  return {
    isReferenced(nodeName, what, namespace, name) {
      const pods = podsOf.get(nodeName);
      if (!pods) return false;
      if (what === 'pods') return pods.has(`${namespace}/${name}`);
      for (const pod of pods.values()) if (refersTo(pod, { what, namespace, name }, reader)) return true;
      return false;
    },
    close,
  };
}

function refersTo(
  pod: BoundPod,
  target: { readonly what: NodeReference; readonly namespace: string; readonly name: string },
  reader: ObjectReader,
): boolean {
  const { what, namespace, name } = target;
  if (what === 'persistentvolumes') return [...volumesOf(pod, reader)].includes(name);
  const isSame = pod.namespace === namespace;
  switch (what) {
    case 'secrets':
      return (isSame && pod.secrets.has(name)) || hasVolumeSecret(pod, `${namespace}/${name}`, reader);
    case 'configmaps':
      return isSame && pod.configMaps.has(name);
    case 'persistentvolumeclaims':
      return isSame && pod.claims.has(name);
    case 'resourceclaims':
      return isSame && pod.resourceClaims.has(name);
    case 'serviceaccounts':
      return isSame && pod.serviceAccount === name;
    default:
      return false;
  }
}

function* volumesOf(pod: BoundPod, reader: ObjectReader): Iterable<string> {
  for (const claim of pod.claims) {
    const volume = reader.get(PERSISTENT_VOLUME_CLAIMS, claim, pod.namespace)?.spec?.volumeName;
    if (volume) yield volume;
  }
}

function hasVolumeSecret(pod: BoundPod, secret: string, reader: ObjectReader): boolean {
  for (const name of volumesOf(pod, reader)) {
    const volume = reader.get(PERSISTENT_VOLUMES, name);
    if (volume && collectVolumeSecrets(volume).includes(secret)) return true;
  }
  return false;
}
