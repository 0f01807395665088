import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS } from '../../api/kinds.ts';
import { update } from '../component/action.ts';
import { isPodTerminal } from '../component/objects.ts';
import { type Controller, type ReconcileResult, SETTLED, watch, watchSelf } from './controller.ts';

const CLAIM_FINALIZER = 'kubernetes.io/pvc-protection';
const VOLUME_FINALIZER = 'kubernetes.io/pv-protection';

/** Keeps claims that a pod uses from going. */
export function createClaimProtection(): Controller {
  return {
    name: 'persistentvolumeclaim-protection-controller',
    watches: [
      watchSelf(PERSISTENT_VOLUME_CLAIMS),
      watch(PODS, ({ object, type }) => {
        if (type === 'MODIFIED' && !isPodTerminal(object)) return [];
        return claimsOf(object).map((name) => `${object.metadata?.namespace}/${name}`);
      }),
    ],
    reconcile(key, { view }): ReconcileResult {
      const claim = view.get(PERSISTENT_VOLUME_CLAIMS, key);
      const { namespace = '', name = '', finalizers = [], deletionTimestamp } = claim?.metadata ?? {};
      if (!claim) return SETTLED;
      const has = finalizers.includes(CLAIM_FINALIZER);
      const isUsed = () =>
        view
          .inNamespace(PODS, namespace)
          .some((pod) => pod.spec?.nodeName && !isPodTerminal(pod) && claimsOf(pod).includes(name));
      if (has === !deletionTimestamp || (deletionTimestamp && isUsed())) return SETTLED;
      const next = deletionTimestamp
        ? finalizers.filter((entry) => entry !== CLAIM_FINALIZER)
        : [...finalizers, CLAIM_FINALIZER];
      const metadata = { ...claim.metadata, finalizers: next };
      return { actions: [update(PERSISTENT_VOLUME_CLAIMS, { ...claim, metadata })] };
    },
  };
}

/** Keeps volumes that a claim is bound to from going. */
export function createVolumeProtection(): Controller {
  return {
    name: 'persistentvolume-protection-controller',
    watches: [watchSelf(PERSISTENT_VOLUMES)],
    reconcile(key, { view }): ReconcileResult {
      const volume = view.get(PERSISTENT_VOLUMES, key);
      if (!volume) return SETTLED;
      const { finalizers = [], deletionTimestamp } = volume.metadata ?? {};
      const has = finalizers.includes(VOLUME_FINALIZER);
      if (has === !deletionTimestamp || (deletionTimestamp && volume.status?.phase === 'Bound'))
        return SETTLED;
      const next = deletionTimestamp
        ? finalizers.filter((entry) => entry !== VOLUME_FINALIZER)
        : [...finalizers, VOLUME_FINALIZER];
      const metadata = { ...volume.metadata, finalizers: next };
      return { actions: [update(PERSISTENT_VOLUMES, { ...volume, metadata })] };
    },
  };
}

function claimsOf({ spec, metadata }: Pod): string[] {
  return (spec?.volumes ?? []).flatMap((volume) => {
    if (volume.persistentVolumeClaim) return [volume.persistentVolumeClaim.claimName];
    return volume.ephemeral ? [`${metadata?.name}-${volume.name}`] : [];
  });
}
