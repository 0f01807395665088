import { createHash } from 'node:crypto';
import type { Endpoint, ServicePort } from './service-model.ts';

/** The table that the proxy owns. */
export const PROXY_TABLE = 'ip kube-proxy';

/** Packet mark: the source address is replaced on the way out. */
const MASQUERADE_MARK = '0x4000';

/** What the table should hold beyond its fixed part; all of it is compared by value. */
export interface Ruleset {
  /** Chain → its rules in order. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
  /** Affinity set → seconds. */
  readonly sets: ReadonlyMap<string, number>;
  /** Map → key → verdict. */
  readonly elements: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

export const EMPTY_RULESET: Ruleset = { chains: new Map(), sets: new Map(), elements: new Map() };

export interface RulesetOptions {
  /** Pods' addresses: other sources of cluster IP traffic are masqueraded. */
  readonly clusterCidr: string | undefined;
}

/** Transaction that makes the fixed part anew: hooks, maps and the chains that look into them. */
export function formatBase(): string {
  const t = PROXY_TABLE;
  return `add table ${t}
delete table ${t}
table ${t} {
  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict ; }
  map service-nodeports { type inet_proto . inet_service : verdict ; }
  map no-endpoint-ips { type ipv4_addr . inet_proto . inet_service : verdict ; }
  map no-endpoint-nodeports { type inet_proto . inet_service : verdict ; }
  chain reject-chain { reject ; }
  chain mark-for-masquerade { meta mark set meta mark or ${MASQUERADE_MARK} ; }
  chain services {
    ip daddr . meta l4proto . th dport vmap @service-ips ;
    fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @service-nodeports ;
  }
  chain no-endpoints {
    ct state new ip daddr . meta l4proto . th dport vmap @no-endpoint-ips ;
    ct state new fib daddr type local meta l4proto . th dport vmap @no-endpoint-nodeports ;
  }
  chain nat-prerouting { type nat hook prerouting priority dstnat ; policy accept ; jump services ; }
  chain nat-output { type nat hook output priority -100 ; policy accept ; jump services ; }
  chain nat-postrouting {
    type nat hook postrouting priority srcnat ; policy accept ;
    meta mark and ${MASQUERADE_MARK} != 0 meta mark set meta mark xor ${MASQUERADE_MARK} masquerade fully-random ;
  }
  chain filter-input { type filter hook input priority -110 ; policy accept ; jump no-endpoints ; }
  chain filter-forward { type filter hook forward priority -110 ; policy accept ; jump no-endpoints ; }
  chain filter-output { type filter hook output priority -110 ; policy accept ; jump no-endpoints ; }
}
`;
}

/** Builds what the table should hold for these service ports. */
export function buildRuleset(ports: readonly ServicePort[], options: RulesetOptions): Ruleset {
  const chains = new Map<string, readonly string[]>();
  const sets = new Map<string, number>();
  const elements = new Map<string, Map<string, string>>(
    ['service-ips', 'service-nodeports', 'no-endpoint-ips', 'no-endpoint-nodeports'].map((name) => [
      name,
      new Map(),
    ]),
  );
  const add = (map: string, key: string, verdict: string) => elements.get(map)!.set(key, verdict);
  for (const port of ports) {
    const id = chainId(port);
    const internal = addBalancer({ chains, sets }, port, { name: `service-${id}`, endpoints: port.internal });
    for (const ip of port.clusterIps) {
      const key = `${ip} . ${port.protocol} . ${port.port}`;
      if (internal === undefined) add('no-endpoint-ips', key, 'goto reject-chain');
      else add('service-ips', key, `goto ${addClusterChain(chains, id, internal, options)}`);
    }
    if (port.externalIps.length === 0 && !port.nodePort) continue;
    const external = addBalancer({ chains, sets }, port, {
      name: `external-${id}`,
      endpoints: port.external,
    });
    const chain = external === undefined ? undefined : `entry-${id}`;
    if (chain)
      chains.set(chain, [...(port.keepsSource ? [] : ['jump mark-for-masquerade']), `goto ${external}`]);
    for (const ip of port.externalIps) {
      const key = `${ip} . ${port.protocol} . ${port.port}`;
      if (chain) add('service-ips', key, `goto ${chain}`);
      else add('no-endpoint-ips', key, 'goto reject-chain');
    }
    if (!port.nodePort) continue;
    const key = `${port.protocol} . ${port.nodePort}`;
    if (chain) add('service-nodeports', key, `goto ${chain}`);
    else add('no-endpoint-nodeports', key, 'goto reject-chain');
  }
  return { chains, sets, elements };
}

/**
 * The nftables transaction (nft -f) that turns one ruleset into another: what both have is not touched, so
 * that affinity and counters stay. "" when they are equal.
 */
export function formatTransition(before: Ruleset, after: Ruleset): string {
  const t = PROXY_TABLE;
  const lines: string[] = [];
  const changed = [...after.chains].filter(([name, rules]) => !isSame(before.chains.get(name), rules));
  const goneChains = [...before.chains.keys()].filter((name) => !after.chains.has(name));
  for (const [name, seconds] of after.sets) {
    if (before.sets.has(name)) continue;
    lines.push(`add set ${t} ${name} { type ipv4_addr ; flags dynamic,timeout ; timeout ${seconds}s ; }`);
  }
  for (const [name] of changed) lines.push(`add chain ${t} ${name}`);
  for (const map of new Set([...before.elements.keys(), ...after.elements.keys()])) {
    const wanted = after.elements.get(map) ?? new Map<string, string>();
    const present = before.elements.get(map) ?? new Map<string, string>();
    const gone = [...present].filter(([key, verdict]) => wanted.get(key) !== verdict);
    const added = [...wanted].filter(([key, verdict]) => present.get(key) !== verdict);
    if (gone.length > 0) lines.push(`delete element ${t} ${map} { ${gone.map(([key]) => key).join(', ')} }`);
    if (added.length > 0) {
      lines.push(
        `add element ${t} ${map} { ${added.map(([key, verdict]) => `${key} : ${verdict}`).join(', ')} }`,
      );
    }
  }
  for (const [name] of changed) if (before.chains.has(name)) lines.push(`flush chain ${t} ${name}`);
  for (const name of goneChains) lines.push(`flush chain ${t} ${name}`);
  for (const [name, rules] of changed) for (const rule of rules) lines.push(`add rule ${t} ${name} ${rule}`);
  for (const name of goneChains) lines.push(`delete chain ${t} ${name}`);
  for (const name of before.sets.keys()) if (!after.sets.has(name)) lines.push(`delete set ${t} ${name}`);
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
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
    const set = `affinity-${id}-${endpoint.address.replaceAll('.', '-')}-${endpoint.port}`;
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
  target: string,
  options: RulesetOptions,
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

function isSame(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a !== undefined && a.length === b.length && a.every((rule, index) => rule === b[index]);
}
