/** A socket that listens. */
export interface ListeningSocket {
  readonly port: number;
  readonly inode: string;
}

/** TCP sockets in state LISTEN (0A) in /proc/net/tcp or tcp6, proc(5). */
export function parseListeningSockets(text: string): readonly ListeningSocket[] {
  return text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === '0A')
    .map((fields) => ({
      port: Number.parseInt(fields[1]?.split(':').at(-1) ?? '', 16),
      inode: fields[9] ?? '',
    }));
}

/** Inodes of the unix sockets that listen at a path: flag 0x10000 (SO_ACCEPTCON) in /proc/net/unix, unix(7). */
export function parseUnixListeners(text: string, path: string): readonly string[] {
  return text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === '00010000' && fields.slice(7).join(' ') === path)
    .map((fields) => fields[6] ?? '');
}

export interface InterfaceAddress {
  readonly address: string;
  readonly prefixLength: number;
  readonly device: string;
  /** Neither loopback nor link-local. */
  readonly isGlobal: boolean;
  /** Of a bridge, a tunnel or a container's cable: not where other machines are. */
  readonly isVirtual: boolean;
}

interface AddressRow {
  readonly ifname?: string;
  readonly linkinfo?: { readonly info_kind?: string };
  readonly addr_info?: readonly {
    readonly local?: string;
    readonly prefixlen?: number;
    readonly scope?: string;
    readonly deprecated?: boolean;
  }[];
}

/** Names under which container engines and hypervisors make their interfaces. */
const VIRTUAL_NAME =
  /^(dummy|docker|br-[0-9a-f]{12}|virbr|vnet|veth|cni|flannel|cali|cilium|lxc|lxd|podman|kube-|nodelocaldns|weave|tkadm|tun|tap|tailscale|zt)/;
/** Kinds of `ip -d link` that are tunnels. A VLAN or bond is a real way out, and so is a container's veth "eth0". */
const VIRTUAL_KINDS = ['ipip', 'gre', 'vxlan', 'geneve', 'tun', 'wireguard', 'ifb'];

/** Addresses of `ip -d -j addr`; [] when the text is none. */
export function parseInterfaceAddresses(json: string): readonly InterfaceAddress[] {
  return parseRows<AddressRow>(json).flatMap((row) =>
    (row.addr_info ?? [])
      .filter((info) => info.local !== undefined && !info.deprecated)
      .map((info) => ({
        address: info.local!,
        prefixLength: info.prefixlen ?? 0,
        device: row.ifname ?? '',
        isGlobal: info.scope === 'global',
        isVirtual:
          VIRTUAL_NAME.test(row.ifname ?? '') || VIRTUAL_KINDS.includes(row.linkinfo?.info_kind ?? ''),
      })),
  );
}

export interface HostRoute {
  readonly destination: string;
  readonly device: string;
}

/** Routes of `ip -j route`; the default route and our own are left out. */
export function parseRoutes(json: string): readonly HostRoute[] {
  return parseRows<{ dst?: string; dev?: string; protocol?: string }>(json)
    .filter((route) => route.dst !== undefined && route.dst !== 'default')
    .filter((route) => route.dev !== 'tkadm0' && route.protocol !== '116')
    .map((route) => ({ destination: route.dst!, device: route.dev ?? '' }));
}

/** Name servers of resolv.conf(5). */
export function parseNameServers(text: string): readonly string[] {
  return [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((match) => match[1]!.split('%')[0]!);
}

function parseRows<T>(json: string): readonly T[] {
  try {
    return JSON.parse(json);
  } catch {
    return [];
  }
}
