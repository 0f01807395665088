import { createHash } from 'node:crypto';
import { TkadmError } from '../base/errors.ts';
import { isIpv4 } from './address.ts';
import type { BridgeConfig, PortMapping } from './cni-types.ts';
import { runCommand } from './command.ts';
import { countRules } from './nftables.ts';

/** nftables table of the plugin: masquerading of what leaves the cluster, and host ports. */
export const BRIDGE_TABLE = 'tkadm-bridge';

/** Packet mark of a pod that calls a host port, which may lead back to itself. */
const HAIRPIN_MARK = '0x2000';

/** Pod ranges of the other nodes: what goes there keeps its source address. */
const NETWORKS_SET = 'pod-networks';
const addNetworksSet = (table: string) =>
  `add set ip ${table} ${NETWORKS_SET} { type ipv4_addr ; flags interval ; }`;

/** Host ports at all addresses, and those at one (`hostIP`). */
const ANY_MAP = 'hostports';
const ADDRESS_MAP = 'hostports-at';

interface NodeRules {
  /** Transaction that makes the fixed rules anew; elements of the maps stay. */
  readonly commands: string;
  readonly count: number;
  /** Comment of each rule, which differs for other rules. */
  readonly mark: string;
}

/**
 * `guard` runs before connection tracking puts addresses back, so whatever a pod sends to 127.0.0.0/8 is no answer to
 * the host.
 */
function buildNodeRules(config: BridgeConfig): NodeRules {
  const { table = BRIDGE_TABLE } = config;
  const t = `ip ${table}`;
  const local = config.clusterCIDR ?? config.podCIDR;
  const chains = [
    ['guard', 'type filter hook prerouting priority raw'],
    ['prerouting', 'type nat hook prerouting priority dstnat'],
    ['output', 'type nat hook output priority -100'],
    ['postrouting', 'type nat hook postrouting priority srcnat'],
  ] as const;
  const rules = [
    `guard iifname "${config.bridge}" ip daddr 127.0.0.0/8 drop`,
    `prerouting ip saddr ${config.podCIDR} fib daddr type local meta mark set meta mark or ${HAIRPIN_MARK}`,
    // Without a match in front: a map may be asked as if it were a set only since Linux 6.5.
    `prerouting dnat ip to ip daddr . meta l4proto . th dport map @${ADDRESS_MAP}`,
    `prerouting fib daddr type local dnat ip to meta l4proto . th dport map @${ANY_MAP}`,
    `output dnat ip to ip daddr . meta l4proto . th dport map @${ADDRESS_MAP}`,
    `output fib daddr type local dnat ip to meta l4proto . th dport map @${ANY_MAP}`,
    `postrouting meta mark and ${HAIRPIN_MARK} != 0 ct status dnat masquerade`,
    `postrouting oifname "${config.bridge}" ip saddr 127.0.0.0/8 masquerade`,
    `postrouting ip daddr @${NETWORKS_SET} return`,
    `postrouting ip saddr ${config.podCIDR} ip daddr != { ${local}, 224.0.0.0/4 } masquerade`,
  ];
  const mark = `tkadm ${createHash('sha256').update(rules.join('\n')).digest('hex').slice(0, 16)}`;
  const commands = [
    `add table ${t}`,
    addNetworksSet(table),
    `add map ${t} ${ANY_MAP} { type inet_proto . inet_service : ipv4_addr . inet_service ; }`,
    `add map ${t} ${ADDRESS_MAP} { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service ; }`,
    ...chains.map(([name, hook]) => `add chain ${t} ${name} { ${hook} ; policy accept ; }`),
    ...chains.map(([name]) => `flush chain ${t} ${name}`),
    ...rules.map((rule) => `add rule ${t} ${rule} comment "${mark}"`),
    '',
  ].join('\n');
  return { commands, count: rules.length, mark };
}

/**
 * Loads host ports, and the fixed rules where they are not there. Other programs flush rulesets, so the kernel is
 * asked each time; that costs less than a start of nft.
 * @throws NETWORK_COMMAND
 */
export async function loadRules(config: BridgeConfig, hostPorts: string): Promise<void> {
  const rules = buildNodeRules(config);
  const isThere = countRules(config.table ?? BRIDGE_TABLE, rules.mark) === rules.count;
  const commands = `${isThere ? '' : rules.commands}${hostPorts}`;
  if (commands !== '') await runCommand(['nft', '-f', '-'], commands);
}

/** Tells the rules the pod ranges, IPv4, of all other nodes. @throws NETWORK_COMMAND */
export async function setPodNetworks(cidrs: readonly string[]): Promise<void> {
  const t = `ip ${BRIDGE_TABLE}`;
  const elements = cidrs.length > 0 ? [`add element ${t} ${NETWORKS_SET} { ${cidrs.join(', ')} }`] : [];
  const commands = [
    `add table ${t}`,
    addNetworksSet(BRIDGE_TABLE),
    `flush set ${t} ${NETWORKS_SET}`,
    ...elements,
    '',
  ];
  await runCommand(['nft', '-f', '-'], commands.join('\n'));
}

/**
 * Commands that open a pod's host ports; "" when it has none. Loading them fails when a port is taken.
 * @throws NETWORK_CONFIG for an IPv6 `hostIP` or a protocol without ports.
 */
export function formatHostPorts(
  mappings: readonly PortMapping[],
  address: string,
  table = BRIDGE_TABLE,
): string {
  return mappings
    .filter((mapping) => mapping.hostPort > 0)
    .map((mapping) => {
      const { map, key } = locate(mapping);
      return `add element ip ${table} ${map} { ${key} : ${address} . ${mapping.containerPort} }\n`;
    })
    .join('');
}

/** Closes the host ports that lead to these addresses; those of other pods stay. @throws NETWORK_COMMAND */
export async function releaseHostPorts(addresses: readonly string[], table = BRIDGE_TABLE): Promise<void> {
  if (addresses.length === 0) return;
  const listing = await runCommand(['nft', 'list', 'table', 'ip', table]).catch(() => '');
  const elements = listing.matchAll(
    /(?:(\d+\.\d+\.\d+\.\d+) \. )?(tcp|udp|sctp) \. (\d+) : (\d+\.\d+\.\d+\.\d+) \. \d+/g,
  );
  const commands = [...elements].flatMap(([, hostIp, protocol, port, target]) =>
    addresses.includes(target!)
      ? [
          `delete element ip ${table} ${hostIp ? ADDRESS_MAP : ANY_MAP} { ${hostIp ? `${hostIp} . ` : ''}${protocol} . ${port} }\n`,
        ]
      : [],
  );
  if (commands.length > 0) await runCommand(['nft', '-f', '-'], commands.join(''));
}

function locate({ hostIP, hostPort, protocol }: PortMapping): { readonly map: string; readonly key: string } {
  const name = protocol.toLowerCase();
  if (!['tcp', 'udp', 'sctp'].includes(name)) {
    throw new TkadmError('NETWORK_CONFIG', `Cannot open host port ${hostPort}: protocol "${protocol}"`);
  }
  if (!hostIP || hostIP === '0.0.0.0') return { map: ANY_MAP, key: `${name} . ${hostPort}` };
  if (!isIpv4(hostIP)) {
    throw new TkadmError(
      'NETWORK_CONFIG',
      `Cannot open host port ${hostPort} at "${hostIP}": only IPv4 is supported`,
    );
  }
  return { map: ADDRESS_MAP, key: `${hostIP} . ${name} . ${hostPort}` };
}
