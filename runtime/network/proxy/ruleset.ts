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

/**
 * Transaction that makes the fixed part anew: hooks, maps and the chains that look into them. TCP is refused by a
 * reset, because the kernel limits how many ICMP errors it sends (icmp_ratelimit).
 */
export function formatBase(): string {
  const t = PROXY_TABLE;
  return `add table ${t}
delete table ${t}
table ${t} {
  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict ; }
  map service-nodeports { type inet_proto . inet_service : verdict ; }
  map no-endpoint-ips { type ipv4_addr . inet_proto . inet_service : verdict ; }
  map no-endpoint-nodeports { type inet_proto . inet_service : verdict ; }
  chain reject-chain { meta l4proto tcp reject with tcp reset ; reject ; }
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

function isSame(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a !== undefined && a.length === b.length && a.every((rule, index) => rule === b[index]);
}
