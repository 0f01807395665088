import { isDeepStrictEqual } from 'node:util';
import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import type { RuntimeClass } from 'kubernetes-types/node/v1.d.ts';
import { RUNTIME_CLASSES } from '../../../api/kinds.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { isCreateOf, objectOf, refuse } from '../refusals.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../types.ts';

/** A pod takes over the overhead and the scheduling terms of its RuntimeClass. */
export function createRuntimeClass({ reader }: { readonly reader: ObjectReader }): AdmissionPlugin {
  return {
    name: 'RuntimeClass',
    admit(request) {
      if (!isCreateOf(request, 'pods')) return;
      const pod = objectOf<Pod>(request);
      const spec = pod.spec;
      const found = findClass(request, reader);
      if (!spec || !found) return;
      if (found.overhead?.podFixed) setOverhead(request, pod, found);
      const { nodeSelector = {}, tolerations = [] } = found.scheduling ?? {};
      for (const [key, value] of Object.entries(nodeSelector)) {
        if (spec.nodeSelector?.[key] !== undefined && spec.nodeSelector[key] !== value) {
          throw refuse(
            request,
            `conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; pod.spec.nodeSelector[${key}] = ${spec.nodeSelector[key]}`,
          );
        }
        spec.nodeSelector = { ...spec.nodeSelector, [key]: value };
      }
      const added = tolerations.filter(
        (one) => !spec.tolerations?.some((other) => isDeepStrictEqual({ ...other }, { ...one })),
      );
      if (added.length > 0)
        spec.tolerations = [...(spec.tolerations ?? []), ...added.map((one) => ({ ...one }))];
    },
    validate(request) {
      if (!isCreateOf(request, 'pods')) return;
      const { overhead } = objectOf<Pod>(request).spec ?? {};
      const found = findClass(request, reader);
      if (!found?.overhead?.podFixed && overhead && Object.keys(overhead).length > 0) {
        throw refuse(
          request,
          'pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead',
        );
      }
    },
  };
}

function findClass(request: AdmissionRequest, reader: ObjectReader): RuntimeClass | undefined {
  const name = objectOf<Pod>(request).spec?.runtimeClassName;
  if (!name) return undefined;
  const found = reader.get(RUNTIME_CLASSES, name);
  if (!found) throw refuse(request, `pod rejected: RuntimeClass "${name}" not found`);
  return found;
}

function setOverhead(request: AdmissionRequest, pod: Pod, found: RuntimeClass): void {
  const wanted = { ...found.overhead?.podFixed };
  const { overhead } = pod.spec!;
  if (overhead && Object.keys(overhead).length > 0 && !isDeepStrictEqual({ ...overhead }, wanted)) {
    throw refuse(request, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
  }
  pod.spec!.overhead = wanted;
}
