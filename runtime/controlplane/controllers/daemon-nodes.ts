import type { DaemonSet } from 'kubernetes-types/apps/v1.d.ts';
import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import { NODES } from '../../api/kinds.ts';
import { findUntoleratedTaint, matchesNodeAffinity } from '../component/node-fit.ts';
import { byAge } from '../component/objects.ts';
import type { View } from '../component/view.ts';
import { buildDaemonSpec } from './daemon-spec.ts';

/** A DaemonSet, its pods by node, and the nodes that want one. */
export interface DaemonState {
  readonly set: DaemonSet;
  readonly hash: string;
  readonly now: Date;
  readonly podsByNode: ReadonlyMap<string, readonly Pod[]>;
  /** Nodes that should have a pod, and those that may keep theirs. */
  readonly wanted: readonly Node[];
  readonly tolerated: ReadonlySet<string>;
}

/** Finds the nodes that the DaemonSet is meant for. */
export function observeNodes(
  set: DaemonSet,
  hash: string,
  pods: readonly Pod[],
  view: View,
  now: Date,
): DaemonState {
  const podsByNode = new Map<string, Pod[]>();
  for (const pod of [...pods].sort(byAge)) {
    const node = targetNodeOf(pod);
    if (node === undefined) continue;
    const list = podsByNode.get(node);
    if (list) list.push(pod);
    else podsByNode.set(node, [pod]);
  }
  const spec = buildDaemonSpec(set, undefined);
  const wanted: Node[] = [];
  const tolerated = new Set<string>();
  for (const node of view.list(NODES)) {
    if (!matchesNodeAffinity(set.spec?.template.spec, node)) continue;
    if (spec.nodeName && spec.nodeName !== node.metadata?.name) continue;
    if (findUntoleratedTaint(node.spec?.taints, spec.tolerations, ['NoExecute'])) continue;
    tolerated.add(node.metadata?.name ?? '');
    if (!findUntoleratedTaint(node.spec?.taints, spec.tolerations, ['NoSchedule'])) wanted.push(node);
  }
  return { set, hash, now, podsByNode, wanted, tolerated };
}

/** The node that the pod is bound to or made for. */
function targetNodeOf({ spec }: Pod): string | undefined {
  if (spec?.nodeName) return spec.nodeName;
  const required = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  for (const term of required?.nodeSelectorTerms ?? []) {
    const field = term.matchFields?.find(({ key }) => key === 'metadata.name');
    if (field?.values?.length === 1) return field.values[0];
  }
  return undefined;
}
