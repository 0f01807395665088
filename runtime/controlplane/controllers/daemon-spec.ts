import type { DaemonSet } from 'kubernetes-types/apps/v1.d.ts';
import type { PodSpec, Toleration } from 'kubernetes-types/core/v1.d.ts';
import { isSameJson } from '../component/objects.ts';

/** What every daemon pod tolerates: it is there to make its node work. */
const DAEMON_TOLERATIONS: readonly Toleration[] = [
  { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' },
  { key: 'node.kubernetes.io/disk-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/memory-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/pid-pressure', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/unschedulable', operator: 'Exists', effect: 'NoSchedule' },
];
const HOST_NETWORK_TOLERATION: Toleration = {
  key: 'node.kubernetes.io/network-unavailable',
  operator: 'Exists',
  effect: 'NoSchedule',
};

/** The template's spec with the daemon tolerations and, for a node, an affinity to exactly that node. */
export function buildDaemonSpec(set: DaemonSet, nodeName: string | undefined): PodSpec {
  const spec: PodSpec = set.spec?.template.spec ?? { containers: [] };
  const added = spec.hostNetwork ? [...DAEMON_TOLERATIONS, HOST_NETWORK_TOLERATION] : DAEMON_TOLERATIONS;
  const tolerations = [...(spec.tolerations ?? [])];
  for (const toleration of added) {
    if (!tolerations.some((entry) => isSameJson(entry, toleration))) tolerations.push(toleration);
  }
  if (nodeName === undefined) return { ...spec, tolerations };
  const field = { key: 'metadata.name', operator: 'In', values: [nodeName] };
  const nodeAffinity = spec.affinity?.nodeAffinity;
  const terms = nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [{}];
  const required = { nodeSelectorTerms: terms.map((term) => ({ ...term, matchFields: [field] })) };
  const affinity = {
    ...spec.affinity,
    nodeAffinity: { ...nodeAffinity, requiredDuringSchedulingIgnoredDuringExecution: required },
  };
  return { ...spec, tolerations, affinity };
}
