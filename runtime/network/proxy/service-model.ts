import type { Service } from 'kubernetes-types/core/v1.d.ts';
import type { EndpointSlice } from 'kubernetes-types/discovery/v1.d.ts';
import { objectKey } from '../../api/informer.ts';
import { isIpv4 } from '../address.ts';

export type Protocol = 'tcp' | 'udp' | 'sctp';

export interface Endpoint {
  readonly address: string;
  readonly port: number;
  readonly isLocal: boolean;
}

/** One port of one Service with the endpoints that traffic is spread over. */
export interface ServicePort {
  /** "namespace/name:port", unique. */
  readonly key: string;
  readonly protocol: Protocol;
  readonly port: number;
  readonly clusterIps: readonly string[];
  /** External IPs and load-balancer addresses. */
  readonly externalIps: readonly string[];
  readonly nodePort: number | undefined;
  /** Seconds that a client stays with its endpoint; undefined without session affinity. */
  readonly affinitySeconds: number | undefined;
  /** For traffic to the cluster IP. */
  readonly internal: readonly Endpoint[];
  /** For traffic from outside: node port, external IPs. */
  readonly external: readonly Endpoint[];
  /** externalTrafficPolicy Local: the client's address is kept. */
  readonly keepsSource: boolean;
}

/** The IPv4 service ports of the cluster as this node sees them; headless and ExternalName Services have none. */
export function buildServicePorts(
  services: readonly Service[],
  slices: readonly EndpointSlice[],
  nodeName: string,
): readonly ServicePort[] {
  const slicesByService = groupSlices(slices);
  return services.flatMap((service) => {
    const spec = service.spec;
    const clusterIps = (spec?.clusterIPs ?? [spec?.clusterIP ?? '']).filter(isIpv4);
    if (!spec || spec.type === 'ExternalName' || clusterIps.length === 0) return [];
    const serviceSlices = slicesByService.get(objectKey(service)) ?? [];
    const balancerIps = (service.status?.loadBalancer?.ingress ?? []).flatMap((row) =>
      row.ip && isIpv4(row.ip) ? [row.ip] : [],
    );
    return (spec.ports ?? []).map((port): ServicePort => {
      const endpoints = collectEndpoints(serviceSlices, port.name ?? '', nodeName);
      const local = endpoints.filter((endpoint) => endpoint.isLocal);
      const keepsSource = spec.externalTrafficPolicy === 'Local';
      return {
        key: `${objectKey(service)}:${port.name ?? port.port}`,
        protocol: (port.protocol ?? 'TCP').toLowerCase() as Protocol,
        port: port.port,
        clusterIps,
        externalIps: [...(spec.externalIPs ?? []).filter(isIpv4), ...balancerIps],
        nodePort: port.nodePort,
        affinitySeconds:
          spec.sessionAffinity === 'ClientIP'
            ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800)
            : undefined,
        internal: spec.internalTrafficPolicy === 'Local' ? local : endpoints,
        external: keepsSource ? local : endpoints,
        keepsSource,
      };
    });
  });
}

function groupSlices(slices: readonly EndpointSlice[]): ReadonlyMap<string, readonly EndpointSlice[]> {
  const groups = new Map<string, EndpointSlice[]>();
  for (const slice of slices) {
    const service = slice.metadata?.labels?.['kubernetes.io/service-name'];
    if (!service || slice.addressType !== 'IPv4') continue;
    const key = `${slice.metadata?.namespace}/${service}`;
    groups.set(key, [...(groups.get(key) ?? []), slice]);
  }
  return groups;
}

/** Ready endpoints; where there is none, those that still serve while they end. */
function collectEndpoints(
  slices: readonly EndpointSlice[],
  portName: string,
  nodeName: string,
): readonly Endpoint[] {
  const ready = new Map<string, Endpoint>();
  const serving = new Map<string, Endpoint>();
  for (const slice of slices) {
    const port = slice.ports?.find((row) => (row.name ?? '') === portName)?.port;
    if (port === undefined) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const { conditions } = endpoint;
      const target = conditions?.ready === false ? (conditions.serving ? serving : undefined) : ready;
      for (const address of endpoint.addresses) {
        target?.set(`${address}:${port}`, { address, port, isLocal: endpoint.nodeName === nodeName });
      }
    }
  }
  const chosen = ready.size > 0 ? ready : serving;
  return [...chosen.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, endpoint]) => endpoint);
}
