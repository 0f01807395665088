import type { Service } from 'kubernetes-types/core/v1.d.ts';
import type { Endpoint, EndpointSlice } from 'kubernetes-types/discovery/v1.d.ts';
import { ENDPOINT_SLICES, NODES, SERVICES } from '../../api/kinds.ts';
import { type Action, create, parallel, remove, update } from '../component/action.ts';
import { buildControllerReference, isSameJson } from '../component/objects.ts';
import type { View } from '../component/view.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watch,
} from './controller.ts';
import {
  addressesOf,
  hostnameOf,
  isHeadless,
  type Member,
  SERVICE_WATCHES,
  selectMembers,
} from './service-endpoints.ts';

const SERVICE_NAME = 'kubernetes.io/service-name';
const MANAGED_BY = 'endpointslice.kubernetes.io/managed-by';
const MANAGER = 'endpointslice-controller.k8s.io';
const HEADLESS = { 'service.kubernetes.io/headless': '' };
const MAX_ENDPOINTS = 100;

type AddressType = 'IPv4' | 'IPv6';

/** Keeps the EndpointSlices of each Service with a selector. */
export function createEndpointSliceController(): Controller {
  return {
    name: 'endpointslice-controller',
    watches: [
      ...SERVICE_WATCHES,
      watch(ENDPOINT_SLICES, ({ object }) => {
        const { namespace, labels } = object.metadata ?? {};
        const service = labels?.[SERVICE_NAME];
        return service && labels?.[MANAGED_BY] === MANAGER ? [`${namespace}/${service}`] : [];
      }),
      // Zones of endpoints come from their nodes.
      watch(NODES, () => []),
    ],
    reconcile: reconcileSlices,
  };
}

function reconcileSlices(key: string, { view }: ReconcileContext): ReconcileResult {
  const service = view.get(SERVICES, key);
  const hasSelector = Object.keys(service?.spec?.selector ?? {}).length > 0;
  if (
    !service ||
    !hasSelector ||
    service.spec?.type === 'ExternalName' ||
    service.metadata?.deletionTimestamp
  ) {
    // Without its Service a slice goes by garbage collection.
    return SETTLED;
  }
  const present = view
    .inNamespace(ENDPOINT_SLICES, service.metadata?.namespace ?? '')
    .filter(({ metadata }) => metadata?.labels?.[SERVICE_NAME] === service.metadata?.name)
    .filter(({ metadata }) => metadata?.labels?.[MANAGED_BY] === MANAGER && !metadata.deletionTimestamp);
  const members = selectMembers(service, view);
  const families = addressTypesOf(service);
  const actions = families.flatMap((type) =>
    planFamily(
      service,
      type,
      members,
      present.filter((slice) => slice.addressType === type),
      view,
    ),
  );
  const foreign = present.filter((slice) => !families.includes(slice.addressType as AddressType));
  return {
    actions: parallel([...actions, ...foreign.map((slice) => remove(ENDPOINT_SLICES, slice))]),
  };
}

function addressTypesOf(service: Service): readonly AddressType[] {
  const families = service.spec?.ipFamilies ?? [];
  if (families.length > 0) return families as AddressType[];
  return service.spec?.clusterIP?.includes(':') ? ['IPv6'] : ['IPv4'];
}

interface Group {
  readonly ports: Member['ports'];
  readonly endpoints: Map<string, Endpoint>;
}

function planFamily(
  service: Service,
  type: AddressType,
  members: readonly Member[],
  present: readonly EndpointSlice[],
  view: View,
): Action[] {
  const groups = groupMembers(service, type, members, view);
  const wanted: { slice: EndpointSlice | undefined; ports: Member['ports']; endpoints: Endpoint[] }[] = [];
  const unused = new Set(present);
  for (const { ports, endpoints } of groups) {
    const own = present.filter((slice) => unused.has(slice) && isSameJson(slice.ports ?? [], ports));
    const pending = new Map(endpoints);
    const parts = own.map((slice) => ({ slice, ports, endpoints: keepEndpoints(slice, pending) }));
    const added = [...pending.values()];
    for (const part of parts) {
      part.endpoints.push(...added.splice(0, MAX_ENDPOINTS - part.endpoints.length));
      unused.delete(part.slice);
    }
    wanted.push(...parts.filter((part) => part.endpoints.length > 0 || parts.length === 1));
    for (const part of parts) if (!wanted.includes(part)) unused.add(part.slice);
    while (added.length > 0 || (parts.length === 0 && endpoints.size === 0)) {
      wanted.push({ slice: undefined, ports, endpoints: added.splice(0, MAX_ENDPOINTS) });
      if (endpoints.size === 0) break;
    }
  }
  const spare = [...unused];
  const actions = wanted.flatMap(({ slice, ports, endpoints }) =>
    planSlice(service, type, slice ?? spare.shift(), ports, endpoints),
  );
  return [...actions, ...spare.map((slice) => remove(ENDPOINT_SLICES, slice))];
}

/** The endpoints of the slice that are still wanted, as they should be; takes them out of `pending`. */
function keepEndpoints(slice: EndpointSlice, pending: Map<string, Endpoint>): Endpoint[] {
  const kept: Endpoint[] = [];
  for (const { targetRef } of slice.endpoints ?? []) {
    const endpoint = pending.get(targetRef?.uid ?? '');
    if (!endpoint) continue;
    kept.push(endpoint);
    pending.delete(targetRef?.uid ?? '');
  }
  return kept;
}

function groupMembers(
  service: Service,
  type: AddressType,
  members: readonly Member[],
  view: View,
): readonly Group[] {
  const groups = new Map<string, Group>();
  for (const member of members) {
    const endpoint = buildEndpoint(service, type, member, view);
    if (!endpoint) continue;
    const id = JSON.stringify(member.ports);
    const group = groups.get(id) ?? { ports: member.ports, endpoints: new Map() };
    groups.set(id, group);
    group.endpoints.set(member.pod.metadata?.uid ?? '', endpoint);
  }
  // A Service without endpoints has one empty slice, so that readers need not wait for the first.
  return groups.size > 0 ? [...groups.values()] : [{ ports: [], endpoints: new Map() }];
}

function buildEndpoint(
  service: Service,
  type: AddressType,
  member: Member,
  view: View,
): Endpoint | undefined {
  const { pod } = member;
  const addresses = addressesOf(pod).filter((address) => address.includes(':') === (type === 'IPv6'));
  if (addresses.length === 0) return undefined;
  const { name = '', namespace = '', uid = '' } = pod.metadata ?? {};
  const nodeName = pod.spec?.nodeName;
  const zone = nodeName && view.get(NODES, nodeName)?.metadata?.labels?.['topology.kubernetes.io/zone'];
  const hostname = hostnameOf(pod, service);
  return {
    addresses: [addresses[0]!],
    conditions: { ready: member.isReady, serving: member.isServing, terminating: member.isTerminating },
    ...(hostname ? { hostname } : {}),
    targetRef: { kind: 'Pod', namespace, name, uid },
    ...(nodeName ? { nodeName } : {}),
    ...(zone ? { zone } : {}),
  };
}

function planSlice(
  service: Service,
  addressType: AddressType,
  present: EndpointSlice | undefined,
  ports: Member['ports'],
  endpoints: Endpoint[],
): Action[] {
  const { name = '', namespace = '' } = service.metadata ?? {};
  const labels = {
    ...service.metadata?.labels,
    [SERVICE_NAME]: name,
    [MANAGED_BY]: MANAGER,
    ...(isHeadless(service) ? HEADLESS : {}),
  };
  if (present) {
    const isSame =
      isSameJson(present.endpoints ?? [], endpoints) &&
      isSameJson(present.ports ?? [], ports) &&
      isSameJson(present.metadata?.labels, labels);
    const metadata = { ...present.metadata, labels };
    return isSame ? [] : [update(ENDPOINT_SLICES, { ...present, metadata, ports: [...ports], endpoints })];
  }
  const slice: EndpointSlice = {
    metadata: {
      generateName: `${name}-`,
      namespace,
      labels,
      ownerReferences: [buildControllerReference(SERVICES, service)],
    },
    addressType,
    ports: [...ports],
    endpoints,
  };
  return [create(ENDPOINT_SLICES, slice)];
}
