import type { ResourceRow } from '../../api/resources.ts';

/** Everything that the API server stores lies below this prefix. */
export const KEY_PREFIX = '/registry/';

/** Resources whose directory in etcd is not their plural (upstream's storage factory and strategies). */
const DIRECTORIES: Readonly<Record<string, string>> = {
  nodes: 'minions',
  services: 'services/specs',
  endpoints: 'services/endpoints',
  replicationcontrollers: 'controllers',
  'ingresses.networking.k8s.io': 'ingress',
  'apiservices.apiregistration.k8s.io': 'apiregistration.k8s.io/apiservices',
  'customresourcedefinitions.apiextensions.k8s.io': 'apiextensions.k8s.io/customresourcedefinitions',
};

/** "pods" or "deployments.apps": how messages and tables name a resource. */
export function formatResource(row: Pick<ResourceRow, 'plural' | 'group'>): string {
  return row.group === '' ? row.plural : `${row.plural}.${row.group}`;
}

/** "/registry/pods/": the prefix of a resource's keys; "NS/NAME" or "NAME" follows. */
export function formatKeyPrefix(row: Pick<ResourceRow, 'plural' | 'group'>): string {
  return `${KEY_PREFIX}${DIRECTORIES[formatResource(row)] ?? row.plural}/`;
}
