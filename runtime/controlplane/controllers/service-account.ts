import { CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS } from '../../api/kinds.ts';
import { create, update } from '../component/action.ts';
import { splitKey } from '../component/objects.ts';
import type { View } from '../component/view.ts';
import { type Controller, type ReconcileResult, SETTLED, watch, watchSelf } from './controller.ts';

const ROOT_CA = 'kube-root-ca.crt';
const ROOT_CA_NOTE = {
  'kubernetes.io/description':
    'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.',
};

/** Keeps the ServiceAccount "default" in every namespace. */
export function createServiceAccountController(): Controller {
  return {
    name: 'serviceaccount-controller',
    watches: [
      watchSelf(NAMESPACES),
      watch(SERVICE_ACCOUNTS, ({ key }) =>
        splitKey(key).name === 'default' ? [splitKey(key).namespace] : [],
      ),
    ],
    reconcile(namespace, { view }): ReconcileResult {
      if (!isActiveNamespace(view, namespace) || view.get(SERVICE_ACCOUNTS, `${namespace}/default`))
        return SETTLED;
      const account = { metadata: { name: 'default', namespace } };
      return { actions: [create(SERVICE_ACCOUNTS, account, { ignoreExisting: true })] };
    },
  };
}

/** Keeps the ConfigMap "kube-root-ca.crt" with the API server's CA in every namespace. */
export function createRootCaPublisher(rootCa: () => string): Controller {
  return {
    name: 'root-ca-certificate-publisher-controller',
    watches: [
      watchSelf(NAMESPACES),
      watch(CONFIG_MAPS, ({ key }) => (splitKey(key).name === ROOT_CA ? [splitKey(key).namespace] : [])),
    ],
    reconcile(namespace, { view }): ReconcileResult {
      if (!isActiveNamespace(view, namespace)) return SETTLED;
      const rootCaPem = rootCa();
      const data = { 'ca.crt': rootCaPem };
      const present = view.get(CONFIG_MAPS, `${namespace}/${ROOT_CA}`);
      if (!present) {
        const metadata = { name: ROOT_CA, namespace, annotations: ROOT_CA_NOTE };
        return { actions: [create(CONFIG_MAPS, { metadata, data }, { ignoreExisting: true })] };
      }
      if (present.data?.['ca.crt'] === rootCaPem && Object.keys(present.data).length === 1) return SETTLED;
      return { actions: [update(CONFIG_MAPS, { ...present, data })] };
    },
  };
}

function isActiveNamespace(view: View, name: string): boolean {
  const namespace = view.get(NAMESPACES, name);
  return (
    namespace !== undefined &&
    !namespace.metadata?.deletionTimestamp &&
    namespace.status?.phase !== 'Terminating'
  );
}
