import type { Binding, Pod } from 'kubernetes-types/core/v1.d.ts';
import { NODES } from '../../../api/kinds.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { isCreateOf, isWriteOf, objectOf } from '../refusals.ts';
import type { AdmissionPlugin } from '../types.ts';

const LABELS = ['topology.kubernetes.io/zone', 'topology.kubernetes.io/region'];

/** Zone and region of the node go into the pod's labels: at binding, or at once where a pod names its node. */
export function createPodTopologyLabels({ reader }: { readonly reader: ObjectReader }): AdmissionPlugin {
  return {
    name: 'PodTopologyLabels',
    admit(request) {
      if (request.operation !== 'CREATE') return;
      const isBinding = isWriteOf(request, 'pods', 'binding') || isWriteOf(request, 'bindings');
      if (!isBinding && !isCreateOf(request, 'pods')) return;
      const nodeName = isBinding
        ? objectOf<Binding>(request).target?.name
        : objectOf<Pod>(request).spec?.nodeName;
      const labels = nodeName ? reader.get(NODES, nodeName)?.metadata?.labels : undefined;
      const found = LABELS.flatMap((key) =>
        labels?.[key] === undefined ? [] : [[key, labels[key]] as const],
      );
      if (found.length === 0) return;
      const object = objectOf(request);
      object.metadata = {
        ...object.metadata,
        labels: { ...object.metadata?.labels, ...Object.fromEntries(found) },
      };
    },
  };
}
