import { createHash } from 'node:crypto';
import type { Ruleset } from './ruleset.ts';
import type { Endpoint, ServicePort } from './service-model.ts';

/** Maps of the proxy's table that have elements. */
const MAPS = ['service-ips', 'service-nodeports', 'no-endpoint-ips', 'no-endpoint-nodeports'] as const;

export interface RulesetOptions {
  /** Pods' addresses: other sources of cluster IP traffic are masqueraded. */
  readonly clusterCidr: string | undefined;
}

/** Builds what the table should hold for these service ports. */
export function buildRuleset(ports: readonly ServicePort[], options: RulesetOptions): Ruleset {
  const chains = new Map<string, readonly string[]>();
  const sets = new Map<string, number>();
  const elements = new Map<string, Map<string, string>>(MAPS.map((name) => [name, new Map()]));
  for (const port of ports) {
    const id = chainId(port);
    const internal = addBalancer({ chains, sets }, port, { name: `service-${id}`, endpoints: port.internal });
    const target = internal && addClusterChain(chains, id, { target: internal, options });
    for (const ip of port.clusterIps) addAddress(elements, `${ip} . ${port.protocol} . ${port.port}`, target);
    if (port.externalIps.length === 0 && !port.nodePort) continue;
    const entry = addEntry({ chains, sets }, port, options);
    for (const ip of port.externalIps) addAddress(elements, `${ip} . ${port.protocol} . ${port.port}`, entry);
    if (!port.nodePort) continue;
    const key = `${port.protocol} . ${port.nodePort}`;
    if (entry) elements.get('service-nodeports')!.set(key, `goto ${entry}`);
    else elements.get('no-endpoint-nodeports')!.set(key, 'goto reject-chain');
  }
  return { chains, sets, elements };
}

function addAddress(
  elements: ReadonlyMap<string, Map<string, string>>,
  key: string,
  target: string | undefined,
): void {
  if (target) elements.get('service-ips')!.set(key, `goto ${target}`);
  else elements.get('no-endpoint-ips')!.set(key, 'goto reject-chain');
}

/**
 * The chain for traffic from outside; undefined without any endpoint. With externalTrafficPolicy Local, pods
 * and the node itself still reach every endpoint, and others get no answer where none is local, so that a
 * load balancer looks elsewhere (Service v1, externalTrafficPolicy).
 */
function addEntry(tables: Tables, port: ServicePort, options: RulesetOptions): string | undefined {
  if (port.all.length === 0) return undefined;
  const id = chainId(port);
  const isSameAsInternal = port.all.length === port.internal.length;
  const all = isSameAsInternal
    ? `service-${id}`
    : addBalancer(tables, port, { name: `all-${id}`, endpoints: port.all });
  const name = `entry-${id}`;
  if (!port.keepsSource) {
    tables.chains.set(name, ['jump mark-for-masquerade', `goto ${all}`]);
    return name;
  }
  const local = addBalancer(tables, port, { name: `external-${id}`, endpoints: port.external });
  tables.chains.set(name, [
    ...(options.clusterCidr ? [`ip saddr ${options.clusterCidr} goto ${all}`] : []),
    'fib saddr type local jump mark-for-masquerade',
    `fib saddr type local goto ${all}`,
    local ? `goto ${local}` : 'drop',
  ]);
  return name;
}

interface Tables {
  readonly chains: Map<string, readonly string[]>;
  readonly sets: Map<string, number>;
}

interface Balancer {
  readonly name: string;
  readonly endpoints: readonly Endpoint[];
}

/** A chain that picks an endpoint, and a chain for each endpoint; undefined when there is none. */
function addBalancer(tables: Tables, port: ServicePort, { name, endpoints }: Balancer): string | undefined {
  if (endpoints.length === 0) return undefined;
  const id = chainId(port);
  const targets = endpoints.map((endpoint) => {
    const target = `endpoint-${id}-${endpoint.address.replaceAll('.', '-')}-${endpoint.port}`;
    // The time is part of the name: a set's own cannot be changed.
    const set = `affinity-${port.affinitySeconds}-${id}-${endpoint.address.replaceAll('.', '-')}-${endpoint.port}`;
    if (port.affinitySeconds !== undefined) tables.sets.set(set, port.affinitySeconds);
    tables.chains.set(target, [
      `ip saddr ${endpoint.address} jump mark-for-masquerade`,
      ...(port.affinitySeconds === undefined ? [] : [`update @${set} { ip saddr }`]),
      `meta l4proto ${port.protocol} dnat to ${endpoint.address}:${endpoint.port}`,
    ]);
    return { target, set };
  });
  const choices = targets.map(({ target }, index) => `${index} : goto ${target}`).join(', ');
  tables.chains.set(name, [
    ...(port.affinitySeconds === undefined
      ? []
      : targets.map(({ target, set }) => `ip saddr @${set} goto ${target}`)),
    `numgen random mod ${targets.length} vmap { ${choices} }`,
  ]);
  return name;
}

/** Traffic to a cluster IP from outside the pods' addresses is masqueraded, so that answers find back. */
function addClusterChain(
  chains: Map<string, readonly string[]>,
  id: string,
  { target, options }: { readonly target: string; readonly options: RulesetOptions },
): string {
  if (options.clusterCidr === undefined) return target;
  const name = `cluster-${id}`;
  chains.set(name, [`ip saddr != ${options.clusterCidr} jump mark-for-masquerade`, `goto ${target}`]);
  return name;
}

function chainId(port: ServicePort): string {
  const readable = port.key.replace(/[^a-zA-Z0-9]+/g, '-').slice(0, 60);
  return `${createHash('sha256').update(`${port.key}/${port.protocol}`).digest('hex').slice(0, 8)}-${readable}`;
}
