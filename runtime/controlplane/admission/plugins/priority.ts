import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import type { PriorityClass } from 'kubernetes-types/scheduling/v1.d.ts';
import { PRIORITY_CLASSES } from '../../../api/kinds.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { isCreateOf, isWriteOf, objectOf, refuse } from '../refusals.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../types.ts';

const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';
/** Classes that exist even before their objects do; 10^9 and above is the system's. */
const SYSTEM_CLASSES: Readonly<Record<string, number>> = {
  'system-cluster-critical': 2_000_000_000,
  'system-node-critical': 2_000_001_000,
};

/** Writes the number of the pod's priority class into it; only one class may be the global default. */
export function createPriority({ reader }: { readonly reader: ObjectReader }): AdmissionPlugin {
  return {
    name: 'Priority',
    admit(request) {
      if (isCreateOf(request, 'pods')) admitPod(request, reader);
      if (request.operation === 'UPDATE' && isWriteOf(request, 'pods')) keepPriority(request);
    },
    validate(request) {
      if (request.operation === 'DELETE' || !isWriteOf(request, 'priorityclasses.scheduling.k8s.io')) return;
      const wanted = objectOf<PriorityClass>(request);
      if (!wanted.globalDefault) return;
      const other = defaultClass(reader);
      if (!other || other.metadata?.name === wanted.metadata?.name) return;
      throw refuse(
        request,
        `PriorityClass ${other.metadata?.name} is already marked as default. Only one default can exist`,
      );
    },
  };
}

function admitPod(request: AdmissionRequest, reader: ObjectReader): void {
  const spec = objectOf<Pod>(request).spec;
  if (!spec) return;
  const isMirror = request.object?.metadata?.annotations?.[MIRROR_ANNOTATION] !== undefined;
  // A mirror pod says what the node has decided already.
  if (isMirror && spec.priority !== undefined && !spec.priorityClassName) return;
  const fallback = spec.priorityClassName ? undefined : defaultClass(reader);
  if (fallback) spec.priorityClassName = fallback.metadata?.name ?? '';
  const found = spec.priorityClassName ? findClass(request, spec.priorityClassName, reader) : { value: 0 };
  if (spec.priority !== undefined && spec.priority !== found.value) {
    throw refuse(
      request,
      `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${found.value} from the given PriorityClass name`,
    );
  }
  spec.priority = found.value;
  const policy = found.preemptionPolicy ?? 'PreemptLowerPriority';
  if (spec.preemptionPolicy !== undefined && spec.preemptionPolicy !== policy) {
    throw refuse(
      request,
      `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in pod spec; priority admission controller computed ${policy} from the given PriorityClass name`,
    );
  }
  spec.preemptionPolicy = policy;
}

function findClass(
  request: AdmissionRequest,
  name: string,
  reader: ObjectReader,
): { readonly value: number; readonly preemptionPolicy?: string | undefined } {
  const found = reader.get(PRIORITY_CLASSES, name);
  if (found) return { value: found.value, preemptionPolicy: found.preemptionPolicy };
  const value = SYSTEM_CLASSES[name];
  if (value === undefined) throw refuse(request, `no PriorityClass with name ${name} was found`);
  return { value };
}

/** Of several defaults the lowest wins, as upstream. */
function defaultClass(reader: ObjectReader): PriorityClass | undefined {
  return reader
    .list(PRIORITY_CLASSES)
    .filter(({ globalDefault }) => globalDefault)
    .toSorted((a, b) => a.value - b.value)[0];
}

/** An update that leaves the computed fields out means to keep them. */
function keepPriority(request: AdmissionRequest): void {
  const spec = objectOf<Pod>(request).spec;
  const old = (request.oldObject as Pod | undefined)?.spec;
  if (!spec || !old) return;
  spec.priority ??= old.priority;
  spec.preemptionPolicy ??= old.preemptionPolicy;
}
