import { cidrsOverlap, parseCidr } from '../runtime/base/cidr.ts';

/** Ports of sockets in state LISTEN (0A) in /proc/net/tcp or tcp6, proc(5). */
export function parseListeningPorts(text: string): readonly number[] {
  return text
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[3] === '0A')
    .map((fields) => Number.parseInt(fields[1]?.split(':').at(-1) ?? '', 16));
}

export interface InterfaceAddress {
  readonly address: string;
  readonly device: string;
  /** Neither loopback nor link-local. */
  readonly isGlobal: boolean;
}

/** Addresses of `ip -j addr`; [] when the text is none. */
export function parseInterfaceAddresses(json: string): readonly InterfaceAddress[] {
  let rows: readonly { ifname?: string; addr_info?: readonly { local?: string; scope?: string }[] }[];
  try {
    rows = JSON.parse(json);
  } catch {
    return [];
  }
  return rows.flatMap((row) =>
    (row.addr_info ?? [])
      .filter((info) => info.local !== undefined)
      .map((info) => ({
        address: info.local!,
        device: row.ifname ?? '',
        isGlobal: info.scope === 'global',
      })),
  );
}

export interface RouteOverlap {
  readonly cidr: string;
  readonly route: string;
}

/** Routes of `ip -j route` that share addresses with one of the ranges; the default route and our own are left out. */
export function findRouteOverlaps(json: string, cidrs: readonly string[]): readonly RouteOverlap[] {
  let routes: readonly { dst?: string; dev?: string; protocol?: string }[];
  try {
    routes = JSON.parse(json);
  } catch {
    return [];
  }
  const foreign = routes.filter(
    (route) =>
      route.dst !== undefined &&
      route.dst !== 'default' &&
      route.dev !== 'tkadm0' &&
      route.protocol !== '116',
  );
  return cidrs.flatMap((cidr) =>
    foreign
      .filter((route) => overlaps(cidr, route.dst!))
      .map((route) => ({ cidr, route: `${route.dst} dev ${route.dev}` })),
  );
}

function overlaps(a: string, b: string): boolean {
  const first = parseCidr(a);
  const second = parseCidr(b.includes('/') ? b : `${b}/${b.includes(':') ? 128 : 32}`);
  if (!first || !second) return false;
  return cidrsOverlap(first, second);
}
