import type { Service } from 'kubernetes-types/core/v1.d.ts';
import type { EndpointSlice } from 'kubernetes-types/discovery/v1.d.ts';

/** A record of the cluster's zone. Names are lower case, without a final dot. */
export type ClusterRecord =
  | { readonly type: 'A' | 'AAAA'; readonly address: string }
  | { readonly type: 'CNAME' | 'PTR'; readonly target: string }
  | { readonly type: 'SRV'; readonly target: string; readonly port: number }
  | { readonly type: 'TXT'; readonly text: string };

/** Name → its records; a name with an empty list exists without records of its own (RFC 8020). */
export type RecordTable = ReadonlyMap<string, readonly ClusterRecord[]>;

/**
 * The records of the Kubernetes DNS specification 1.1 for all Services and their endpoints, and reverse
 * records of their addresses.
 */
export function buildRecords(
  services: readonly Service[],
  slices: readonly EndpointSlice[],
  domain: string,
): RecordTable {
  const table = new RecordBuilder();
  table.add(`dns-version.${domain}`, { type: 'TXT', text: '1.1.0' });
  const slicesByService = groupByService(slices);
  for (const service of services) {
    const { name = '', namespace = '' } = service.metadata ?? {};
    const fullName = `${name}.${namespace}.svc.${domain}`;
    table.add(`${namespace}.svc.${domain}`);
    if (service.spec?.type === 'ExternalName') {
      table.add(fullName, {
        type: 'CNAME',
        target: (service.spec.externalName ?? '').replace(/\.$/, '').toLowerCase(),
      });
      continue;
    }
    const addresses = clusterAddresses(service);
    if (addresses.length > 0) addClusterIps(table, service, { fullName, addresses });
    else
      for (const slice of slicesByService.get(`${namespace}/${name}`) ?? [])
        addEndpoints(table, slice, { fullName, service });
    table.add(fullName);
  }
  return table.records;
}

class RecordBuilder {
  readonly records = new Map<string, ClusterRecord[]>();

  add(name: string, record?: ClusterRecord): void {
    const key = name.toLowerCase();
    const list = this.records.get(key);
    if (!list) this.records.set(key, record ? [record] : []);
    else if (record) list.push(record);
  }
}

function clusterAddresses(service: Service): readonly string[] {
  const all = service.spec?.clusterIPs ?? [service.spec?.clusterIP ?? ''];
  return all.filter((address) => address !== '' && address !== 'None');
}

interface ServiceFacts {
  readonly fullName: string;
  readonly addresses: readonly string[];
}

function addClusterIps(table: RecordBuilder, service: Service, { fullName, addresses }: ServiceFacts): void {
  for (const address of addresses) {
    table.add(fullName, { type: address.includes(':') ? 'AAAA' : 'A', address });
    table.add(reverseName(address), { type: 'PTR', target: fullName });
  }
  for (const port of service.spec?.ports ?? []) {
    if (!port.name) continue;
    addPort(table, {
      fullName,
      port: port.port,
      name: port.name,
      protocol: port.protocol ?? 'TCP',
      target: fullName,
    });
  }
}

function addEndpoints(
  table: RecordBuilder,
  slice: EndpointSlice,
  { fullName, service }: { readonly fullName: string; readonly service: Service },
): void {
  const publishesAll = service.spec?.publishNotReadyAddresses === true;
  for (const endpoint of slice.endpoints ?? []) {
    if (endpoint.conditions?.ready === false && !publishesAll) continue;
    for (const address of endpoint.addresses) {
      const host = `${endpoint.hostname ?? address.replaceAll(/[.:]/g, '-')}.${fullName}`;
      const record: ClusterRecord = { type: address.includes(':') ? 'AAAA' : 'A', address };
      table.add(fullName, record);
      table.add(host, record);
      if (endpoint.hostname) table.add(reverseName(address), { type: 'PTR', target: host });
      for (const port of slice.ports ?? []) {
        if (!port.name || port.port === undefined) continue;
        addPort(table, {
          fullName,
          port: port.port,
          name: port.name,
          protocol: port.protocol ?? 'TCP',
          target: host,
        });
      }
    }
  }
}

interface PortFacts {
  readonly fullName: string;
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  readonly target: string;
}

function addPort(table: RecordBuilder, facts: PortFacts): void {
  const protocol = `_${facts.protocol.toLowerCase()}.${facts.fullName}`;
  table.add(protocol);
  table.add(`_${facts.name}.${protocol}`, { type: 'SRV', target: facts.target, port: facts.port });
}

function groupByService(slices: readonly EndpointSlice[]): ReadonlyMap<string, readonly EndpointSlice[]> {
  const groups = new Map<string, EndpointSlice[]>();
  for (const slice of slices) {
    const key = `${slice.metadata?.namespace}/${slice.metadata?.labels?.['kubernetes.io/service-name']}`;
    groups.set(key, [...(groups.get(key) ?? []), slice]);
  }
  return groups;
}

/** "10.96.0.1" → "1.0.96.10.in-addr.arpa"; IPv6 by nibbles in ip6.arpa (RFC 3596 §2.5). */
function reverseName(address: string): string {
  if (!address.includes(':')) return `${address.split('.').reverse().join('.')}.in-addr.arpa`;
  const [head = '', tail] = address.split('::');
  const left = head.split(':').filter(Boolean);
  const right = (tail ?? '').split(':').filter(Boolean);
  const groups = [...left, ...Array(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right];
  const nibbles = groups.map((group) => group.padStart(4, '0')).join('');
  return `${[...nibbles].reverse().join('.')}.ip6.arpa`;
}

/** "1-2-3-4.ns.pod.DOMAIN" → "1.2.3.4"; undefined for other names. */
export function parsePodName(name: string, domain: string): string | undefined {
  const suffix = `.pod.${domain}`;
  if (!name.endsWith(suffix)) return undefined;
  const labels = name.slice(0, -suffix.length).split('.');
  const address = labels[0]?.replaceAll('-', '.') ?? '';
  return labels.length === 2 && /^\d{1,3}(\.\d{1,3}){3}$/.test(address) ? address : undefined;
}
