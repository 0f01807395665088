import type { Container, EphemeralContainer, Pod } from 'kubernetes-types/core/v1.d.ts';
import { isWriteOf, objectOf } from '../refusals.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../types.ts';

type PulledContainer = Container | EphemeralContainer;

/**
 * Every container pulls its image each time, so that whoever may not pull it cannot use another's copy. An update
 * without a new image changes nothing, as upstream's (`alwayspullimages/admission.go`).
 */
export const alwaysPullImages: AdmissionPlugin = {
  name: 'AlwaysPullImages',
  admit(request) {
    if (!hasNewImages(request)) return;
    for (const container of containersOf(objectOf<Pod>(request))) container.imagePullPolicy = 'Always';
  },
};

function hasNewImages(request: AdmissionRequest): boolean {
  if (!isWriteOf(request, 'pods')) return false;
  if (request.operation === 'CREATE') return true;
  if (request.operation !== 'UPDATE') return false;
  const known = new Set(containersOf(request.oldObject as Pod).map(({ image }) => image));
  return containersOf(objectOf<Pod>(request)).some(({ image }) => !known.has(image));
}

function containersOf({ spec }: Pod): readonly PulledContainer[] {
  return [...(spec?.initContainers ?? []), ...(spec?.containers ?? []), ...(spec?.ephemeralContainers ?? [])];
}
