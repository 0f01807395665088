import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import type { ApiClient } from '../../api/client.ts';
import { PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES } from '../../api/kinds.ts';
import { waitFor } from '../../base/time.ts';
import type { ClusterCache } from '../component/cluster-cache.ts';
import type { NodeInfo } from './node-info.ts';
import { claimNamesOf, findVolumeForNode } from './volumes.ts';

const SELECTED_NODE = 'volume.kubernetes.io/selected-node';
const BIND_TIMEOUT_MS = 10 * 60_000;

/**
 * Reserves volumes for the pod's claims that waited for a node, or asks their provisioner, and waits until
 * all are bound. Does nothing, and does not wait, for a pod without such claims.
 * @throws WAIT_TIMEOUT
 */
export async function bindVolumes(
  pod: Pod,
  node: NodeInfo,
  { client, cache }: { readonly client: ApiClient; readonly cache: ClusterCache },
): Promise<void> {
  const keys = claimNamesOf(pod).map((name) => `${pod.metadata?.namespace}/${name}`);
  const unbound = keys.filter((key) => !cache.view.get(PERSISTENT_VOLUME_CLAIMS, key)?.spec?.volumeName);
  if (unbound.length === 0) return;
  for (const key of unbound) {
    const claim = cache.view.get(PERSISTENT_VOLUME_CLAIMS, key);
    if (!claim) throw new Error(`persistentvolumeclaim "${key}" is gone`);
    const { name = '', namespace, uid, resourceVersion } = claim.metadata ?? {};
    const volume = findVolumeForNode(claim, node, cache.view);
    if (volume) {
      const claimRef = {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        name,
        namespace,
        uid,
        resourceVersion,
      };
      const body = { metadata: { resourceVersion: volume.metadata?.resourceVersion }, spec: { claimRef } };
      await client.patch(PERSISTENT_VOLUMES, { name: volume.metadata?.name ?? '' }, { type: 'merge', body });
    } else {
      const body = { metadata: { annotations: { [SELECTED_NODE]: node.name } } };
      await client.patch(PERSISTENT_VOLUME_CLAIMS, { name, namespace }, { type: 'merge', body });
    }
  }
  await waitFor(
    async () =>
      unbound.every((key) => cache.view.get(PERSISTENT_VOLUME_CLAIMS, key)?.status?.phase === 'Bound')
        ? true
        : undefined,
    { subject: `bound claims of pod "${pod.metadata?.name}"`, timeoutMs: BIND_TIMEOUT_MS },
  );
}
