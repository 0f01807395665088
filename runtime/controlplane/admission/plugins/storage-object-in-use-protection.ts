import type { KubeObject } from '../../../api/kinds.ts';
import { isCreateOf } from '../refusals.ts';
import type { AdmissionPlugin } from '../types.ts';

const FINALIZERS = [
  { resource: 'persistentvolumes', finalizer: 'kubernetes.io/pv-protection' },
  { resource: 'persistentvolumeclaims', finalizer: 'kubernetes.io/pvc-protection' },
  { resource: 'volumeattributesclasses.storage.k8s.io', finalizer: 'kubernetes.io/vac-protection' },
] as const;

/** Volumes, claims and attribute classes get the finalizer that their protection controller takes off. */
export const storageObjectInUseProtection: AdmissionPlugin = {
  name: 'StorageObjectInUseProtection',
  admit(request) {
    const row = FINALIZERS.find(({ resource }) => isCreateOf(request, resource));
    if (row && request.object) addFinalizer(request.object, row.finalizer);
  },
};

function addFinalizer(object: KubeObject, finalizer: string): void {
  object.metadata ??= {};
  const finalizers = object.metadata.finalizers ?? [];
  if (!finalizers.includes(finalizer)) object.metadata.finalizers = [...finalizers, finalizer];
}
