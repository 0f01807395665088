import type { PersistentVolumeClaim } from 'kubernetes-types/core/v1.d.ts';
import { STORAGE_CLASSES } from '../../../api/kinds.ts';
import { parseQuantity } from '../../../api/quantity.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { isWriteOf, objectOf, refuse } from '../refusals.ts';
import type { AdmissionPlugin } from '../types.ts';

/** A claim grows only where its class allows that. */
export function createPersistentVolumeClaimResize({
  reader,
}: {
  readonly reader: ObjectReader;
}): AdmissionPlugin {
  return {
    name: 'PersistentVolumeClaimResize',
    validate(request) {
      if (request.operation !== 'UPDATE' || !isWriteOf(request, 'persistentvolumeclaims')) return;
      const claim = objectOf<PersistentVolumeClaim>(request);
      const old = request.oldObject as PersistentVolumeClaim | undefined;
      if (!old || storageOf(claim) <= storageOf(old)) return;
      if (old.status?.phase !== 'Bound')
        throw refuse(request, 'Only bound persistent volume claims can be expanded');
      const name = claim.spec?.storageClassName;
      const isAllowed = name ? reader.get(STORAGE_CLASSES, name)?.allowVolumeExpansion : false;
      if (isAllowed) return;
      throw refuse(
        request,
        'only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize',
      );
    },
  };
}

function storageOf(claim: PersistentVolumeClaim): bigint {
  const storage = (claim.spec?.resources?.requests as Record<string, string> | undefined)?.['storage'];
  return storage === undefined ? 0n : parseQuantity(storage);
}
