import { createSocket } from 'node:dgram';
import { mkdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { cidrsOverlap, parseCidr } from '../base/cidr.ts';
import { isSystemError, TkadmError } from '../base/errors.ts';
import { readFileIfExists, writeFileAtomic } from '../base/files.ts';
import { KeyedLock } from '../base/keyed-lock.ts';
import { addToBridge, type BridgePaths, deleteFromBridge } from '../network/bridge.ts';
import type { BridgeConfig, PortMapping } from '../network/cni-types.ts';
import { runCommand } from '../network/command.ts';
import { gatewayOf } from '../network/ipam.ts';
import type { CtrAttachment, PortBinding } from './ctr-record.ts';

/** Ranges for the bridge, the first that nothing else uses; none is a default of a cluster. */
const SUBNETS = [
  '172.30.0.0/16',
  '172.29.0.0/16',
  '172.28.0.0/16',
  '192.168.208.0/20',
  '10.213.0.0/16',
] as const;
const PORT_RANGE = { first: 32768, last: 60999 } as const;
const INTERFACE = 'eth0';

export interface CtrBridgeOptions {
  /** Addresses given out, and the range that was chosen. */
  readonly stateDir: string;
  /** Marks of what was set up since boot. */
  readonly runDir: string;
  /** "tkadm-ctr0"; the nftables table is named by it as well. */
  readonly name: string;
  /** Ports of the host that containers have. */
  readonly usedPorts: () => readonly PortBinding[];
}

/** The network "bridge": addresses, masquerading and published ports, apart from the pods' network. */
export class CtrBridge {
  readonly #options: CtrBridgeOptions;
  readonly #paths: BridgePaths;
  /** Ports by container, from the moment they are chosen. */
  readonly #claimed = new Map<string, readonly PortBinding[]>();
  readonly #lock = new KeyedLock();
  #subnet: string | undefined;

  constructor(options: CtrBridgeOptions) {
    this.#options = options;
    this.#paths = { stateDir: options.stateDir, runDir: options.runDir };
  }

  get interfaceName(): string {
    return this.#options.name;
  }

  /** The range in use; undefined before the first container. */
  async subnet(): Promise<string | undefined> {
    this.#subnet ??= (await readFileIfExists(join(this.#options.stateDir, 'subnet')))?.trim();
    return this.#subnet;
  }

  /** Gives a container's network namespace an address and its ports of the host. @throws CTR_PORT_TAKEN */
  async attach(id: string, netns: string, wishes: readonly PortBinding[]): Promise<CtrAttachment> {
    const ports = await this.#lock.run('ports', () => this.#choosePorts(id, wishes));
    const config = await this.#config(ports);
    const result = await addToBridge(
      config,
      { containerId: id, netns, interfaceName: INTERFACE },
      this.#paths,
    );
    const [address = ''] = (result.ips[0]?.address ?? '').split('/');
    return {
      address,
      gateway: gatewayOf(config.podCIDR),
      prefixLength: parseCidr(config.podCIDR)?.prefixLength ?? 0,
      mac: result.interfaces.find(({ name }) => name === INTERFACE)?.mac ?? '',
      ports,
    };
  }

  /** Gives back all that a container has; may be repeated. */
  async detach(id: string, ports: readonly PortBinding[]): Promise<void> {
    this.#claimed.delete(id);
    if ((await this.subnet()) === undefined) return;
    const args = { containerId: id, netns: undefined, interfaceName: INTERFACE };
    await deleteFromBridge(await this.#config(ports), args, this.#paths);
  }

  /** Takes the bridge and its rules away, when nothing uses them. */
  async remove(): Promise<void> {
    const { name } = this.#options;
    await runCommand(['nft', 'delete', 'table', 'ip', name]).catch(() => {});
    await runCommand(['ip', 'link', 'del', name]).catch(() => {});
  }

  async #config(ports: readonly PortBinding[]): Promise<BridgeConfig> {
    const { name } = this.#options;
    const portMappings = ports.map(
      ({ hostPort, containerPort, protocol, hostIp }): PortMapping => ({
        hostPort,
        containerPort,
        protocol,
        ...(hostIp === '' ? {} : { hostIP: hostIp }),
      }),
    );
    const podCIDR = await this.#requireSubnet();
    const base = { cniVersion: '1.0.0', name, type: 'tkadm-bridge', bridge: name, table: name } as const;
    return { ...base, podCIDR, ...(portMappings.length > 0 && { runtimeConfig: { portMappings } }) };
  }

  async #requireSubnet(): Promise<string> {
    const present = await this.subnet();
    if (present !== undefined) return present;
    const chosen = await chooseSubnet();
    await mkdir(this.#options.stateDir, { recursive: true });
    await writeFileAtomic(join(this.#options.stateDir, 'subnet'), `${chosen}\n`);
    this.#subnet = chosen;
    return chosen;
  }

  async #choosePorts(id: string, wishes: readonly PortBinding[]): Promise<readonly PortBinding[]> {
    const chosen: PortBinding[] = [];
    for (const wish of wishes) {
      const used = [...this.#options.usedPorts(), ...[...this.#claimed.values()].flat(), ...chosen];
      const isFixed = wish.hostPort !== 0 && wish.lastHostPort === undefined;
      chosen.push(isFixed ? await claimPort(wish, used) : await findFreePort(wish, used));
    }
    this.#claimed.set(id, chosen);
    return chosen;
  }
}

/** @throws CTR_PORT_TAKEN */
async function claimPort(wish: PortBinding, used: readonly PortBinding[]): Promise<PortBinding> {
  const place = `${wish.hostIp || '0.0.0.0'}:${wish.hostPort}/${wish.protocol}`;
  if (used.some((other) => isSamePort(wish, other))) {
    throw new TkadmError('CTR_PORT_TAKEN', `Cannot publish port ${place}: another container has it`, {
      hint: 'tkadm ctr ps',
    });
  }
  if (await canBind(wish)) return wish;
  throw new TkadmError('CTR_PORT_TAKEN', `Cannot publish port ${place}: a program of the host has it`, {
    hint: `ss -ltnup 'sport = :${wish.hostPort}'`,
  });
}

async function findFreePort(wish: PortBinding, used: readonly PortBinding[]): Promise<PortBinding> {
  const { lastHostPort = PORT_RANGE.last, ...rest } = wish;
  for (let hostPort = wish.hostPort || PORT_RANGE.first; hostPort <= lastHostPort; hostPort += 1) {
    const candidate = { ...rest, hostPort };
    if (!used.some((other) => isSamePort(candidate, other)) && (await canBind(candidate))) return candidate;
  }
  throw new TkadmError('CTR_PORT_TAKEN', `Cannot publish port ${wish.containerPort}: no port is free`);
}

function isSamePort(a: PortBinding, b: PortBinding): boolean {
  const isSameAddress = a.hostIp === b.hostIp || a.hostIp === '' || b.hostIp === '';
  return a.hostPort === b.hostPort && a.protocol === b.protocol && isSameAddress;
}

/** True when no program of the host listens there. @throws CTR_PORT_TAKEN for an address that is not the host's. */
async function canBind({ hostIp, hostPort, protocol }: PortBinding): Promise<boolean> {
  const host = hostIp || '0.0.0.0';
  const tried = new Promise<void>((resolve, reject) => {
    if (protocol === 'udp') {
      const socket = createSocket('udp4');
      socket.once('error', reject);
      socket.bind({ address: host, port: hostPort, exclusive: true }, () => socket.close(resolve));
      return;
    }
    const server = createServer();
    server.once('error', reject);
    server.listen({ host, port: hostPort, exclusive: true }, () => server.close(() => resolve()));
  });
  try {
    await tried;
    return true;
  } catch (error) {
    if (isSystemError(error, 'EADDRINUSE')) return false;
    const { code } = error as NodeJS.ErrnoException;
    throw new TkadmError('CTR_PORT_TAKEN', `Cannot publish port ${host}:${hostPort}: ${code}`, {
      cause: error,
    });
  }
}

/** The first range that no route of this machine touches. @throws NETWORK_CONFIG */
async function chooseSubnet(): Promise<string> {
  const routes = await readRoutes();
  const free = SUBNETS.find((subnet) => {
    const wanted = parseCidr(subnet)!;
    return !routes.some((route) => cidrsOverlap(wanted, route));
  });
  if (free !== undefined) return free;
  throw new TkadmError(
    'NETWORK_CONFIG',
    `Cannot make the bridge: this machine has routes to all of ${SUBNETS.join(', ')}`,
    { hint: '--network host' },
  );
}

/** The destinations of this machine's IPv4 routes, but the default one: proc_net_route, little endian hex. */
async function readRoutes() {
  const lines = (await readFile('/proc/net/route', 'utf8')).trim().split('\n').slice(1);
  return lines.flatMap((line) => {
    const fields = line.split('\t');
    const mask = Number.parseInt(fields[7] ?? '0', 16);
    if (mask === 0) return [];
    const bytes = Buffer.from(fields[1] ?? '', 'hex').reverse();
    const prefix = mask.toString(2).replaceAll('0', '').length;
    const cidr = parseCidr(`${[...bytes].join('.')}/${prefix}`);
    return cidr === undefined ? [] : [cidr];
  });
}
