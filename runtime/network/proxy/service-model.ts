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
  /** All of them, wherever they are. */
  readonly all: readonly Endpoint[];
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
    const balancerIps = ((service.status?.loadBalancer?.ingress ?? []) as readonly BalancerAddress[]).flatMap(
      (row) => (row.ip && isIpv4(row.ip) && row.ipMode !== 'Proxy' ? [row.ip] : []),
    );
    return (spec.ports ?? []).map((port): ServicePort => {
      const candidates = collectEndpoints(serviceSlices, port.name ?? '', nodeName);
      const all = chooseEndpoints(candidates);
      const local = chooseEndpoints(candidates.filter((endpoint) => endpoint.isLocal));
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
        all,
        internal: spec.internalTrafficPolicy === 'Local' ? local : all,
        external: keepsSource ? local : all,
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

/** `ipMode` is newer than the type definitions (Service v1, LoadBalancerIngress). */
interface BalancerAddress {
  readonly ip?: string;
  readonly ipMode?: string;
}

interface Candidate extends Endpoint {
  readonly isReady: boolean;
}

/** Endpoints that are ready, or that still serve while they end. */
function collectEndpoints(
  slices: readonly EndpointSlice[],
  portName: string,
  nodeName: string,
): readonly Candidate[] {
  const found = new Map<string, Candidate>();
  for (const slice of slices) {
    const port = slice.ports?.find((row) => (row.name ?? '') === portName)?.port;
    if (port === undefined) continue;
    for (const { addresses, conditions, nodeName: endpointNode } of slice.endpoints ?? []) {
      const isReady = conditions?.ready !== false;
      if (!isReady && !(conditions?.serving && conditions.terminating)) continue;
      for (const address of addresses) {
        const key = `${address}:${port}`;
        // While a slice is split or merged, an endpoint is in two of them.
        if (found.get(key)?.isReady) continue;
        found.set(key, { address, port, isReady, isLocal: endpointNode === nodeName });
      }
    }
  }
  return [...found.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, candidate]) => candidate);
}

/** The ready ones; where there is none, those that still serve. */
function chooseEndpoints(candidates: readonly Candidate[]): readonly Endpoint[] {
  const ready = candidates.filter((candidate) => candidate.isReady);
  const chosen = ready.length > 0 ? ready : candidates;
  return chosen.map(({ address, port, isLocal }) => ({ address, port, isLocal }));
}
