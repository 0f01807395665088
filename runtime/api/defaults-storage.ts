import { fill } from './defaults-fill.ts';
import { ensureObject } from './schema/access.ts';
import { isJsonObject, type JsonObject } from './schema/types.ts';

/** The defaults of the spec of a PersistentVolumeClaim. */
export function defaultClaimSpec(spec: JsonObject): void {
  fill(spec, { volumeMode: 'Filesystem' });
}

/** The defaults of a PersistentVolumeClaim. */
export function defaultClaim(object: JsonObject): void {
  defaultClaimSpec(ensureObject(object, 'spec'));
  fill(ensureObject(object, 'status'), { phase: 'Pending' });
}

/** The defaults of a PersistentVolume. */
export function defaultVolume(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { persistentVolumeReclaimPolicy: 'Retain', volumeMode: 'Filesystem' });
  if (isJsonObject(spec['hostPath']) && spec['hostPath']['type'] === undefined) spec['hostPath']['type'] = '';
  fill(ensureObject(object, 'status'), { phase: 'Pending' });
}

/** The defaults of a StorageClass. */
export function defaultStorageClass(object: JsonObject): void {
  fill(object, { reclaimPolicy: 'Delete', volumeBindingMode: 'Immediate' });
}

/** The defaults of a CSIDriver. */
export function defaultCsiDriver(object: JsonObject): void {
  fill(ensureObject(object, 'spec'), {
    attachRequired: true,
    podInfoOnMount: false,
    storageCapacity: false,
    fsGroupPolicy: 'ReadWriteOnceWithFSType',
    volumeLifecycleModes: ['Persistent'],
    requiresRepublish: false,
    seLinuxMount: false,
  });
}
