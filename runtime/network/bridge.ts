import { createHash } from 'node:crypto';
import { access, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import { PATHS } from '../base/paths.ts';
import { parseIpv4Network } from './address.ts';
import { formatHostPorts, loadRules, releaseHostPorts } from './bridge-rules.ts';
import type { BridgeConfig, CniArguments, CniResult } from './cni-types.ts';
import { runCommand } from './command.ts';
import { findAddresses, gatewayOf, releaseAddresses, reserveAddress } from './ipam.ts';
import { addVethPair, configurePodInterface, deleteLink, requireLink } from './links.ts';

/** Where addresses are recorded and marks of what was set up since boot are kept. */
export interface BridgePaths {
  readonly stateDir: string;
  readonly runDir: string;
}

const DEFAULT_MTU = 1500;

const BRIDGE_PATHS: BridgePaths = { stateDir: `${PATHS.state}/network`, runDir: PATHS.run };

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
  const mappings = config.runtimeConfig?.portMappings ?? [];
  formatHostPorts(mappings, gateway);
  const address = await reserveAddress(addressDir(config, paths), config.podCIDR, args);
  const veth = vethName(args);
  try {
    await ensureBridge(config, paths);
    await addVethPair({
      name: veth,
      bridge: config.bridge,
      peer: args.interfaceName,
      netns: args.netns,
      mtu: config.mtu ?? DEFAULT_MTU,
    });
    const mac = await configurePodInterface(args.netns, {
      name: args.interfaceName,
      address,
      gateway,
    });
    await loadRules(config, formatHostPorts(mappings, address, config.table));
    return buildResult(config, args, {
      address: `${address}/32`,
      gateway,
      veth,
      mac,
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
  await deleteLink(vethName(args));
  if ((config.runtimeConfig?.portMappings ?? []).length > 0) {
    await releaseHostPorts(await findAddresses(directory, args), config.table);
  }
  await releaseAddresses(directory, args);
}

/** CNI CHECK: the address is recorded and the veth pair is there. @throws NETWORK_COMMAND, NETWORK_CONFIG */
export async function checkOnBridge(
  config: BridgeConfig,
  args: CniArguments,
  paths = BRIDGE_PATHS,
): Promise<void> {
  await requireLink(vethName(args));
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

/** The bridge, once for each boot and configuration: a mark on tmpfs remembers. */
async function ensureBridge(config: BridgeConfig, paths: BridgePaths): Promise<void> {
  const mark = join(paths.runDir, `network-${config.bridge}`);
  const wanted = JSON.stringify([config.podCIDR, config.mtu]);
  const isMarked = (await readFile(mark, 'utf8').catch(() => '')) === wanted;
  const isThere = await exists(`/sys/class/net/${config.bridge}`);
  if (isMarked && isThere) return;
  const { prefix } = parseIpv4Network(config.podCIDR);
  if (!isThere) {
    await runCommand(['ip', 'link', 'add', config.bridge, 'type', 'bridge']).catch((error: Error) => {
      if (!/File exists/.test(error.message)) throw error;
    });
  }
  await runCommand(
    ['ip', '-batch', '-'],
    `addr replace ${gatewayOf(config.podCIDR)}/${prefix} dev ${config.bridge}\nlink set ${config.bridge} up\n`,
  );
  await writeFile('/proc/sys/net/ipv4/ip_forward', '1').catch(() => {});
  // For host ports at 127.0.0.1; the rules keep pods from the host's loopback.
  await writeFile(`/proc/sys/net/ipv4/conf/${config.bridge}/route_localnet`, '1').catch(() => {});
  await mkdir(paths.runDir, { recursive: true });
  await writeFile(mark, wanted);
}

interface Attachment {
  readonly address: string;
  readonly gateway: string;
  readonly veth: string;
  readonly mac: string;
}

function buildResult(config: BridgeConfig, args: CniArguments, attachment: Attachment): CniResult {
  return {
    cniVersion: config.cniVersion,
    interfaces: [
      { name: config.bridge },
      { name: attachment.veth },
      {
        name: args.interfaceName,
        mac: attachment.mac,
        ...(args.netns ? { sandbox: args.netns } : {}),
      },
    ],
    ips: [{ address: attachment.address, gateway: attachment.gateway, interface: 2 }],
    routes: [{ dst: '0.0.0.0/0', gw: attachment.gateway }],
    dns: {},
  };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
