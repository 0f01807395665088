import type { KubeObject } from '../../runtime/api/kinds.ts';
import { clusterRole, clusterRoleBinding, NODES_GROUP } from './objects.ts';

const NAME = 'tkadm:pod-network';

/** Lets every node see the addresses and pod ranges of the others, to which its agent sets routes. */
export function buildPodNetworkObjects(): readonly KubeObject[] {
  return [
    clusterRole(NAME, [{ apiGroups: [''], resources: ['nodes'], verbs: ['get', 'list', 'watch'] }]),
    clusterRoleBinding(NAME, NAME, [{ kind: 'Group', name: NODES_GROUP }]),
  ];
}
