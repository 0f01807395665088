import { createHash } from 'node:crypto';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import { PATHS } from '../base/paths.ts';
import { parseIpv4Network } from './address.ts';
import type { BridgeConfig, CniArguments, CniResult, PortMapping } from './cni-types.ts';
import { runCommand } from './command.ts';
import { findAddresses, gatewayOf, releaseAddresses, reserveAddress } from './ipam.ts';

/** Where addresses are recorded and marks of what was set up since boot are kept. */
export interface BridgePaths {
  readonly stateDir: string;
  readonly runDir: string;
}

export const BRIDGE_PATHS: BridgePaths = { stateDir: `${PATHS.state}/network`, runDir: PATHS.run };

/** nftables table of the plugin: masquerading of what leaves the cluster, and host ports. */
export const BRIDGE_TABLE = 'tkadm-bridge';

/** Packet mark of a pod that calls a host port, which may lead back to itself. */
const HAIRPIN_MARK = '0x2000';

/**
 * CNI ADD: a veth pair between the namespace and the bridge, an address, a default route, host ports.
 * Takes back what it did when a step fails.
 * @throws NETWORK_COMMAND, NETWORK_FULL, NETWORK_CONFIG
 */
export async function addToBridge(
  config: BridgeConfig,
  args: CniArguments,
  paths = BRIDGE_PATHS,
): Promise<CniResult> {
  if (args.netns === undefined)
    throw new TkadmError('NETWORK_CONFIG', 'Cannot add a network: CNI_NETNS is not set');
  const gateway = gatewayOf(config.podCIDR);
  const { prefix } = parseIpv4Network(config.podCIDR);
  const address = await reserveAddress(addressDir(config, paths), config.podCIDR, args);
  const veth = vethName(args);
  try {
    await ensureNode(config, paths);
    await runCommand(
      ['ip', '-batch', '-'],
      [
        `link add ${veth} mtu ${config.mtu ?? 1500} type veth peer name ${args.interfaceName} mtu ${config.mtu ?? 1500} netns ${args.netns}`,
        `link set ${veth} master ${config.bridge} up`,
        `link set ${veth} type bridge_slave hairpin on`,
        '',
      ].join('\n'),
    );
    const output = await runCommand(
      ['nsenter', `--net=${args.netns}`, 'ip', '-j', '-batch', '-'],
      [
        'link set lo up',
        `addr add ${address}/${prefix} dev ${args.interfaceName}`,
        `link set ${args.interfaceName} up`,
        `route add default via ${gateway}`,
        `link show dev ${args.interfaceName}`,
        '',
      ].join('\n'),
    );
    await addHostPorts(address, config.runtimeConfig?.portMappings ?? []);
    return buildResult(config, args, {
      address: `${address}/${prefix}`,
      gateway,
      veth,
      mac: parseMac(output),
    });
  } catch (error) {
    await deleteFromBridge(config, args, paths).catch(() => {});
    throw error;
  }
}

/** CNI DEL: gives the address, the veth pair and the host ports back; may be repeated. */
export async function deleteFromBridge(
  config: BridgeConfig,
  args: CniArguments,
  paths = BRIDGE_PATHS,
): Promise<void> {
  const directory = addressDir(config, paths);
  await runCommand(['ip', 'link', 'del', vethName(args)]).catch((error: Error) => {
    if (!/Cannot find device/.test(error.message)) throw error;
  });
  await deleteHostPorts(config.runtimeConfig?.portMappings ?? []);
  await releaseAddresses(directory, args);
}

/** CNI CHECK: the address is recorded and the veth pair is there. @throws NETWORK_COMMAND, NETWORK_CONFIG */
export async function checkOnBridge(
  config: BridgeConfig,
  args: CniArguments,
  paths = BRIDGE_PATHS,
): Promise<void> {
  await runCommand(['ip', 'link', 'show', 'dev', vethName(args)]);
  if ((await findAddresses(addressDir(config, paths), args)).length === 0) {
    throw new TkadmError('NETWORK_CONFIG', `Cannot find an address of container "${args.containerId}"`);
  }
}

/** Host side of the pair: "tk" and 12 hex digits of the container's and interface's names (15 is the kernel's limit). */
export function vethName(args: Pick<CniArguments, 'containerId' | 'interfaceName'>): string {
  const digest = createHash('sha1').update(`${args.containerId}/${args.interfaceName}`).digest('hex');
  return `tk${digest.slice(0, 12)}`;
}

function addressDir(config: BridgeConfig, paths: BridgePaths): string {
  return join(paths.stateDir, config.name);
}

/** The bridge and the rules of the node, once for each boot and configuration: a mark on tmpfs remembers. */
async function ensureNode(config: BridgeConfig, paths: BridgePaths): Promise<void> {
  const mark = join(paths.runDir, `network-${config.bridge}`);
  const wanted = JSON.stringify([config.podCIDR, config.clusterCIDR, config.mtu]);
  const isMarked = (await readFile(mark, 'utf8').catch(() => '')) === wanted;
  if (isMarked && (await exists(`/sys/class/net/${config.bridge}`))) return;
  const { prefix } = parseIpv4Network(config.podCIDR);
  if (!(await exists(`/sys/class/net/${config.bridge}`))) {
    await runCommand(['ip', 'link', 'add', config.bridge, 'type', 'bridge']).catch((error: Error) => {
      if (!/File exists/.test(error.message)) throw error;
    });
  }
  await runCommand(
    ['ip', '-batch', '-'],
    `addr replace ${gatewayOf(config.podCIDR)}/${prefix} dev ${config.bridge}\nlink set ${config.bridge} up\n`,
  );
  await writeFile('/proc/sys/net/ipv4/ip_forward', '1').catch(() => {});
  await runCommand(['nft', '-f', '-'], formatNodeRules(config));
  await mkdir(paths.runDir, { recursive: true });
  await writeFile(mark, wanted);
}

/** Rules of the node. Elements of `hostports` stay when the rules are loaded again. */
export function formatNodeRules(config: BridgeConfig): string {
  const table = `ip ${BRIDGE_TABLE}`;
  const local = config.clusterCIDR ?? config.podCIDR;
  return `add table ${table}
add map ${table} hostports { type inet_proto . inet_service : ipv4_addr . inet_service ; }
add chain ${table} prerouting { type nat hook prerouting priority dstnat ; policy accept ; }
add chain ${table} output { type nat hook output priority -100 ; policy accept ; }
add chain ${table} postrouting { type nat hook postrouting priority srcnat ; policy accept ; }
flush chain ${table} prerouting
flush chain ${table} output
flush chain ${table} postrouting
add rule ${table} prerouting ip saddr ${config.podCIDR} fib daddr type local meta l4proto . th dport @hostports meta mark set meta mark or ${HAIRPIN_MARK}
add rule ${table} prerouting fib daddr type local dnat ip to meta l4proto . th dport map @hostports
add rule ${table} output fib daddr type local dnat ip to meta l4proto . th dport map @hostports
add rule ${table} postrouting meta mark and ${HAIRPIN_MARK} != 0 ct status dnat masquerade
add rule ${table} postrouting ip saddr ${config.podCIDR} ip daddr != { ${local}, 224.0.0.0/4 } masquerade
`;
}

async function addHostPorts(address: string, mappings: readonly PortMapping[]): Promise<void> {
  const elements = mappings
    .filter((mapping) => mapping.hostPort > 0)
    .map((mapping) => `${formatHostPort(mapping)} : ${address} . ${mapping.containerPort}`);
  if (elements.length === 0) return;
  await runCommand(
    ['nft', '-f', '-'],
    `add element ip ${BRIDGE_TABLE} hostports { ${elements.join(', ')} }\n`,
  );
}

async function deleteHostPorts(mappings: readonly PortMapping[]): Promise<void> {
  for (const mapping of mappings.filter((row) => row.hostPort > 0)) {
    await runCommand([
      'nft',
      'delete',
      'element',
      'ip',
      BRIDGE_TABLE,
      'hostports',
      '{',
      formatHostPort(mapping),
      '}',
    ]).catch((error: Error) => {
      if (!/No such file/.test(error.message)) throw error;
    });
  }
}

function formatHostPort(mapping: PortMapping): string {
  return `${mapping.protocol.toLowerCase()} . ${mapping.hostPort}`;
}

interface Attachment {
  readonly address: string;
  readonly gateway: string;
  readonly veth: string;
  readonly mac: string | undefined;
}

function buildResult(config: BridgeConfig, args: CniArguments, attachment: Attachment): CniResult {
  return {
    cniVersion: config.cniVersion,
    interfaces: [
      { name: config.bridge },
      { name: attachment.veth },
      {
        name: args.interfaceName,
        ...(attachment.mac ? { mac: attachment.mac } : {}),
        ...(args.netns ? { sandbox: args.netns } : {}),
      },
    ],
    ips: [{ address: attachment.address, gateway: attachment.gateway, interface: 2 }],
    routes: [{ dst: '0.0.0.0/0', gw: attachment.gateway }],
    dns: {},
  };
}

function parseMac(output: string): string | undefined {
  return /"address":"([0-9a-f:]{17})"/.exec(output)?.[1];
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
