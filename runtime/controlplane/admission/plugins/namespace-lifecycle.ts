import { NAMESPACES } from '../../../api/kinds.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { notFound, refuse } from '../refusals.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../types.ts';

const IMMORTAL = ['default', 'kube-system', 'kube-public'];
/** Reviews live in a namespace of their own making: nothing is stored there. */
const EXEMPT_GROUP = 'authorization.k8s.io';

/** Nothing is created in a namespace that is missing or going; the three basic namespaces cannot be deleted. */
export function createNamespaceLifecycle({ reader }: { readonly reader: ObjectReader }): AdmissionPlugin {
  return {
    name: 'NamespaceLifecycle',
    admit(request) {
      const { operation, resource, namespace } = request;
      if (operation === 'DELETE' && resource.group === '' && resource.plural === 'namespaces') {
        if (IMMORTAL.includes(request.name)) throw refuse(request, 'this namespace may not be deleted');
        return;
      }
      if (!resource.namespaced || namespace === '' || resource.group === EXEMPT_GROUP) return;
      if (operation !== 'CREATE') return;
      const found = reader.get(NAMESPACES, namespace);
      if (!found) throw notFound('namespaces', namespace);
      const isGoing = found.metadata?.deletionTimestamp || found.status?.phase === 'Terminating';
      if (isGoing) throw terminating(request, namespace);
    },
  };
}

function terminating(request: AdmissionRequest, namespace: string) {
  const message = `namespace ${namespace} is being terminated`;
  return refuse(
    request,
    `unable to create new content in namespace ${namespace} because it is being terminated`,
    [{ reason: 'NamespaceTerminating', message, field: 'metadata.namespace' }],
  );
}
