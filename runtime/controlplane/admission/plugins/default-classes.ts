import type { PersistentVolumeClaim } from 'kubernetes-types/core/v1.d.ts';
import type { ObjectMeta } from 'kubernetes-types/meta/v1.d.ts';
import type { Ingress, IngressClass } from 'kubernetes-types/networking/v1.d.ts';
import { kindOf, STORAGE_CLASSES } from '../../../api/kinds.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { isCreateOf, objectOf, refuse } from '../refusals.ts';
import type { AdmissionPlugin } from '../types.ts';

const INGRESS_CLASSES = kindOf<IngressClass>('networking.k8s.io/v1', 'IngressClass');
const STORAGE_ANNOTATIONS = [
  'storageclass.kubernetes.io/is-default-class',
  'storageclass.beta.kubernetes.io/is-default-class',
];
const INGRESS_ANNOTATION = 'ingressclass.kubernetes.io/is-default-class';
const CLAIM_CLASS_ANNOTATION = 'volume.beta.kubernetes.io/storage-class';
const INGRESS_CLASS_ANNOTATION = 'kubernetes.io/ingress.class';

/** A claim that names no class gets the default one; of several the newest. */
export function createDefaultStorageClass({ reader }: { readonly reader: ObjectReader }): AdmissionPlugin {
  return {
    name: 'DefaultStorageClass',
    admit(request) {
      if (!isCreateOf(request, 'persistentvolumeclaims')) return;
      const claim = objectOf<PersistentVolumeClaim>(request);
      // An empty name is a wish too: no class, no dynamic provisioning.
      const hasWish =
        claim.spec?.storageClassName !== undefined ||
        claim.metadata?.annotations?.[CLAIM_CLASS_ANNOTATION] !== undefined;
      if (hasWish || !claim.spec) return;
      const defaults = reader
        .list(STORAGE_CLASSES)
        .filter(({ metadata }) => STORAGE_ANNOTATIONS.some((key) => metadata?.annotations?.[key] === 'true'));
      const name = defaults.toSorted(newestFirst)[0]?.metadata?.name;
      if (name) claim.spec.storageClassName = name;
    },
  };
}

/** An Ingress that names no class gets the default one; two defaults are an error. */
export function createDefaultIngressClass({ reader }: { readonly reader: ObjectReader }): AdmissionPlugin {
  return {
    name: 'DefaultIngressClass',
    admit(request) {
      if (!isCreateOf(request, 'ingresses.networking.k8s.io')) return;
      const ingress = objectOf<Ingress>(request);
      if (ingress.spec?.ingressClassName !== undefined) return;
      if (ingress.metadata?.annotations?.[INGRESS_CLASS_ANNOTATION] !== undefined) return;
      const defaults = reader
        .list(INGRESS_CLASSES)
        .filter(({ metadata }) => metadata?.annotations?.[INGRESS_ANNOTATION] === 'true');
      if (defaults.length > 1)
        throw refuse(request, `${defaults.length} default IngressClasses were found, only 1 allowed`);
      const name = defaults[0]?.metadata?.name;
      if (name) ingress.spec = { ...ingress.spec, ingressClassName: name };
    },
  };
}

function newestFirst(a: { metadata?: ObjectMeta }, b: { metadata?: ObjectMeta }): number {
  const time = (object: { metadata?: ObjectMeta }) =>
    Date.parse(String(object.metadata?.creationTimestamp ?? 0));
  return time(b) - time(a) || (a.metadata?.name ?? '').localeCompare(b.metadata?.name ?? '');
}
