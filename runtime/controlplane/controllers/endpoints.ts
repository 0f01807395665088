import type { EndpointAddress, EndpointSubset, Endpoints, Service } from 'kubernetes-types/core/v1.d.ts';
import { ENDPOINTS, SERVICES } from '../../api/kinds.ts';
import { create, remove, update } from '../component/action.ts';
import { compareText, isSameJson } from '../component/objects.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watchSelf,
} from './controller.ts';
import {
  addressesOf,
  hostnameOf,
  isHeadless,
  type Member,
  SERVICE_WATCHES,
  selectMembers,
} from './service-endpoints.ts';

const MANAGED_BY = { 'endpoints.kubernetes.io/managed-by': 'endpoint-controller' };
const HEADLESS = { 'service.kubernetes.io/headless': '' };

/** Keeps the Endpoints object of each Service with a selector. */
export function createEndpointsController(): Controller {
  return {
    name: 'endpoints-controller',
    watches: [...SERVICE_WATCHES, watchSelf(ENDPOINTS)],
    reconcile: reconcileEndpoints,
  };
}

function reconcileEndpoints(key: string, { view }: ReconcileContext): ReconcileResult {
  const service = view.get(SERVICES, key);
  const present = view.get(ENDPOINTS, key);
  if (!service) {
    const isOurs =
      present?.metadata?.labels?.['endpoints.kubernetes.io/managed-by'] === 'endpoint-controller';
    return present && isOurs ? { actions: [remove(ENDPOINTS, present)] } : SETTLED;
  }
  const hasSelector = Object.keys(service.spec?.selector ?? {}).length > 0;
  if (!hasSelector || service.spec?.type === 'ExternalName' || service.metadata?.deletionTimestamp)
    return SETTLED;
  const labels = {
    ...service.metadata?.labels,
    ...MANAGED_BY,
    ...(isHeadless(service) ? HEADLESS : {}),
  };
  const subsets = buildSubsets(service, selectMembers(service, view));
  if (present && isSameJson(present.subsets ?? [], subsets) && isSameJson(present.metadata?.labels, labels)) {
    return SETTLED;
  }
  const metadata = { ...present?.metadata, ...nameOf(service), labels };
  const endpoints: Endpoints = { ...present, metadata, subsets };
  return { actions: [present ? update(ENDPOINTS, endpoints) : create(ENDPOINTS, endpoints)] };
}

function nameOf({ metadata }: Service) {
  return { name: metadata?.name ?? '', namespace: metadata?.namespace ?? '' };
}

/** One subset for each set of ports, addresses in order. */
function buildSubsets(service: Service, members: readonly Member[]): EndpointSubset[] {
  const groups = new Map<
    string,
    { ready: EndpointAddress[]; notReady: EndpointAddress[]; ports: Member['ports'] }
  >();
  for (const member of members) {
    if (member.isTerminating && !service.spec?.publishNotReadyAddresses) continue;
    if (member.ports.length === 0 && !(isHeadless(service) && !service.spec?.ports?.length)) continue;
    const id = JSON.stringify(member.ports);
    const group = groups.get(id) ?? { ready: [], notReady: [], ports: member.ports };
    groups.set(id, group);
    (member.isReady ? group.ready : group.notReady).push(buildAddress(service, member));
  }
  const byIp = (a: EndpointAddress, b: EndpointAddress) => compareText(a.ip, b.ip);
  return [...groups.entries()]
    .sort(([a], [b]) => compareText(a, b))
    .map(([, { ready, notReady, ports }]) => ({
      ...(ready.length > 0 ? { addresses: ready.sort(byIp) } : {}),
      ...(notReady.length > 0 ? { notReadyAddresses: notReady.sort(byIp) } : {}),
      ...(ports.length > 0
        ? { ports: ports.map(({ name, ...rest }) => (name === '' ? rest : { name, ...rest })) }
        : {}),
    }));
}

function buildAddress(service: Service, { pod }: Member): EndpointAddress {
  const { name = '', namespace = '', uid = '' } = pod.metadata ?? {};
  const isIpv6 = service.spec?.ipFamilies?.[0] === 'IPv6';
  const addresses = addressesOf(pod);
  const ip = addresses.find((address) => address.includes(':') === isIpv6) ?? addresses[0] ?? '';
  const hostname = hostnameOf(pod, service);
  return {
    ip,
    ...(hostname ? { hostname } : {}),
    ...(pod.spec?.nodeName ? { nodeName: pod.spec.nodeName } : {}),
    targetRef: { kind: 'Pod', namespace, name, uid },
  };
}
