import type { Service } from 'kubernetes-types/core/v1.d.ts';
import { SERVICES } from '../../../api/kinds.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { type IpRange, parseIpRange } from './ip-range.ts';
import { createNumberPool, type NumberPool } from './pool.ts';

export interface AddressPool {
  readonly range: IpRange;
  readonly pool: NumberPool;
}

/** What Services hold, stored ones and those on their way to the store. */
export interface ServiceAllocations {
  /** One pool for each family, the default family first. */
  readonly addressPools: readonly AddressPool[];
  readonly nodePorts: NumberPool;
  readonly nodePortRange: { readonly from: number; readonly to: number };
  close(): void;
}

const DEFAULT_NODE_PORTS = { from: 30000, to: 32767 };

/**
 * Counts every address and node port of the stored Services and follows their changes: what a deleted Service
 * held is free at once. Whoever picks a number takes it in the same turn and releases it when the write has
 * ended, so that parallel creations cannot meet.
 */
export function createServiceAllocations(options: {
  readonly reader: ObjectReader;
  readonly serviceCidrs: readonly string[];
  readonly nodePortRange?: { readonly from: number; readonly to: number } | undefined;
  readonly randomBytes: (size: number) => Buffer;
}): ServiceAllocations {
  const { reader, randomBytes } = options;
  const nodePortRange = options.nodePortRange ?? DEFAULT_NODE_PORTS;
  const addressPools = options.serviceCidrs.map((cidr) => {
    const range = parseIpRange(cidr);
    const reserved = reservedBand(range.size, 16, 256);
    return { range, pool: createNumberPool({ from: 1, to: range.size, reserved, randomBytes }) };
  });
  const portCount = nodePortRange.to - nodePortRange.from + 1;
  const nodePorts = createNumberPool({
    ...nodePortRange,
    reserved: reservedBand(portCount, 32, 128),
    randomBytes,
  });
  const held = new Map<string, Service>();

  function mark(service: Service, change: 'take' | 'release'): void {
    for (const address of serviceAddresses(service)) {
      for (const { range, pool } of addressPools) {
        const offset = range.offset(address);
        if (offset !== undefined) pool[change](offset);
      }
    }
    for (const port of servicePorts(service)) nodePorts[change](port);
  }
  function update(service: Service, isThere: boolean): void {
    const id = `${service.metadata?.namespace}/${service.metadata?.name}`;
    const previous = held.get(id);
    if (isThere) mark(service, 'take');
    if (previous) mark(previous, 'release');
    if (isThere) held.set(id, service);
    else held.delete(id);
  }
  for (const service of reader.list(SERVICES)) update(service, true);
  const close = reader.subscribe(SERVICES, (service, type) => update(service, type !== 'DELETED'));
  return { addressPools, nodePorts, nodePortRange, close };
}

/** min(max(16, size/divisor), most): the band that dynamic allocation avoids; none in small ranges. */
function reservedBand(size: number, divisor: number, most: number): number {
  const band = Math.min(Math.max(16, Math.floor(size / divisor)), most);
  return size > band ? band : 0;
}

/** Cluster addresses of a Service without "None". */
export function serviceAddresses(service: Service): readonly string[] {
  const { clusterIP, clusterIPs } = service.spec ?? {};
  const all = clusterIPs?.length ? clusterIPs : clusterIP ? [clusterIP] : [];
  return all.filter((address) => address !== '' && address !== 'None');
}

/** Node ports of a Service, each once however many protocols share it. */
export function servicePorts(service: Service): readonly number[] {
  const ports = (service.spec?.ports ?? []).flatMap(({ nodePort }) => nodePort || []);
  const health = service.spec?.healthCheckNodePort;
  return [...new Set(health ? [...ports, health] : ports)];
}
