import { closeSync } from 'node:fs';
import { parseIpv4 } from './address.ts';
import {
  attribute,
  NETLINK,
  type Netlink,
  NetlinkError,
  NLM_F,
  nested,
  openNetlink,
  parseAttributes,
} from './netlink.ts';
import { openNamespace } from './sockets.ts';

/** Message types of rtnetlink(7). */
const RTM = { newLink: 16, deleteLink: 17, getLink: 18, newAddress: 20, newRoute: 24 } as const;
/** Attributes, <linux/if_link.h>, <linux/if_addr.h>, <linux/rtnetlink.h>. */
const IFLA = { address: 1, name: 3, mtu: 4, master: 10, linkInfo: 18, netnsFd: 28 } as const;
const INFO = { kind: 1, data: 2, slaveKind: 4, slaveData: 5 } as const;
const VETH_PEER = 1;
const BRIDGE_PORT_HAIRPIN = 4;
const IFA = { address: 1, local: 2 } as const;
const RTA = { target: 1, link: 4, gateway: 5 } as const;
const AF_INET = 2;
const IFF_UP = 1;
const LOOPBACK_INDEX = 1;
/** rtm_table main, rtm_protocol boot, rtm_type unicast; rtm_scope universe, and link without a gateway. */
const DEFAULT_ROUTE = Buffer.from([AF_INET, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]);
const HOST_ROUTE = Buffer.from([AF_INET, 32, 0, 0, 254, 3, 253, 1, 0, 0, 0, 0]);
const HOST_PREFIX = 32;

/** A veth pair: `name` is the bridge's port, `peer` goes to the namespace. */
export interface VethPair {
  readonly name: string;
  readonly bridge: string;
  readonly peer: string;
  readonly netns: string;
  readonly mtu: number;
}

/** An IPv4 interface of a namespace. */
export interface PodInterface {
  readonly name: string;
  readonly address: string;
  readonly gateway: string;
}

/**
 * Makes the pair, the bridge's port up and with hairpin: where br_netfilter is loaded, a packet to a Service that comes
 * back to its own pod is rewritten within the bridge and leaves by the port that it came in by. @throws NETWORK_COMMAND
 */
export async function addVethPair(pair: VethPair): Promise<void> {
  const netns = openNamespace(pair.netns);
  try {
    await withRoute(undefined, async (route) => {
      const master = readLink(route, pair.bridge).index;
      const peer = Buffer.concat([
        linkHeader({}),
        attribute(IFLA.name, pair.peer),
        attribute(IFLA.mtu, pair.mtu),
        attribute(IFLA.netnsFd, netns),
      ]);
      await route.askAside({
        type: RTM.newLink,
        flags: NLM_F.create | NLM_F.exclusive,
        step: `add link "${pair.name}"`,
        body: Buffer.concat([
          linkHeader({ isUp: true }),
          attribute(IFLA.name, pair.name),
          attribute(IFLA.mtu, pair.mtu),
          attribute(IFLA.master, master),
          nested(IFLA.linkInfo, attribute(INFO.kind, 'veth'), nested(INFO.data, nested(VETH_PEER, peer))),
        ]),
      });
      const hairpin = nested(INFO.slaveData, attribute(BRIDGE_PORT_HAIRPIN, Buffer.from([1])));
      route.ask({
        type: RTM.newLink,
        step: `set hairpin of "${pair.name}"`,
        body: Buffer.concat([
          linkHeader({}),
          attribute(IFLA.name, pair.name),
          nested(IFLA.linkInfo, attribute(INFO.slaveKind, 'bridge'), hairpin),
        ]),
      });
    });
  } finally {
    closeSync(netns);
  }
}

/**
 * Gives an interface of the namespace its address and routes, raises "lo"; returns the MAC. Everything goes to the
 * gateway, also what is for a neighbour: the bridge would switch the neighbour's answers past the host's packet filter,
 * which must turn a Service's translation back (without the module br_netfilter).
 * @throws NETWORK_COMMAND
 */
export async function configurePodInterface(netnsPath: string, pod: PodInterface): Promise<string> {
  return withRoute(netnsPath, async (route) => {
    const { index, mac } = readLink(route, pod.name);
    const address = networkOrder(pod.address);
    for (const link of [LOOPBACK_INDEX, index]) {
      const body = linkHeader({ index: link, isUp: true });
      route.ask({ type: RTM.newLink, step: `raise link ${link}`, body });
    }
    route.ask({
      type: RTM.newAddress,
      flags: NLM_F.create | NLM_F.exclusive,
      step: `add address ${pod.address} to "${pod.name}"`,
      body: Buffer.concat([
        addressHeader(index, HOST_PREFIX),
        attribute(IFA.local, address),
        attribute(IFA.address, address),
      ]),
    });
    const gateway = networkOrder(pod.gateway);
    const routes = [
      [HOST_ROUTE, attribute(RTA.target, gateway), attribute(RTA.link, index)],
      [DEFAULT_ROUTE, attribute(RTA.gateway, gateway), attribute(RTA.link, index)],
    ];
    for (const body of routes) {
      route.ask({
        type: RTM.newRoute,
        flags: NLM_F.create | NLM_F.exclusive,
        step: `add the route by ${pod.gateway}`,
        body: Buffer.concat(body),
      });
    }
    return mac;
  });
}

/** Raises "lo" in a namespace that gets no other interface. @throws NETWORK_COMMAND */
export async function raiseLoopback(netnsPath: string): Promise<void> {
  await withRoute(netnsPath, async (route) => {
    const body = linkHeader({ index: LOOPBACK_INDEX, isUp: true });
    route.ask({ type: RTM.newLink, step: 'raise link "lo"', body });
  });
}

/** Takes a link of the host away; false when there is none. @throws NETWORK_COMMAND */
export async function deleteLink(name: string): Promise<boolean> {
  try {
    const body = Buffer.concat([linkHeader({}), attribute(IFLA.name, name)]);
    await withRoute(undefined, (route) =>
      route.askAside({ type: RTM.deleteLink, step: `delete link "${name}"`, body }),
    );
    return true;
  } catch (error) {
    if (error instanceof NetlinkError && error.errno === 'ENODEV') return false;
    throw error;
  }
}

/** @throws NETWORK_COMMAND when the host has no such link. */
export async function requireLink(name: string): Promise<void> {
  await withRoute(undefined, async (route) => readLink(route, name));
}

async function withRoute<T>(
  netnsPath: string | undefined,
  action: (route: Netlink) => Promise<T>,
): Promise<T> {
  const route = openNetlink(NETLINK.route, netnsPath);
  try {
    return await action(route);
  } finally {
    route.close();
  }
}

function readLink(route: Netlink, name: string): { readonly index: number; readonly mac: string } {
  const body = Buffer.concat([linkHeader({}), attribute(IFLA.name, name)]);
  const [answer] = route.ask({ type: RTM.getLink, step: `find link "${name}"`, body });
  if (answer === undefined) throw new Error(`no answer for link "${name}"`);
  const mac = parseAttributes(answer.subarray(16)).get(IFLA.address)?.value;
  return { index: answer.readInt32LE(4), mac: formatMac(mac ?? Buffer.alloc(0)) };
}

/** ifinfomsg { u8 family, u8 pad, u16 type, i32 index, u32 flags, u32 change } */
function linkHeader({
  index = 0,
  isUp = false,
}: {
  readonly index?: number;
  readonly isUp?: boolean;
}): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(isUp ? IFF_UP : 0, 8);
  header.writeUInt32LE(isUp ? IFF_UP : 0, 12);
  return header;
}

/** ifaddrmsg { u8 family, u8 prefixlen, u8 flags, u8 scope, u32 index } */
function addressHeader(index: number, prefix: number): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(AF_INET, 0);
  header.writeUInt8(prefix, 1);
  header.writeUInt32LE(index, 4);
  return header;
}

function networkOrder(address: string): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(parseIpv4(address));
  return bytes;
}

/** "02:42:ac:11:00:02" */
function formatMac(bytes: Buffer): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
