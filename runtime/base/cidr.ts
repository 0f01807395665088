/** 4 or 6. */
export type IpFamily = 4 | 6;

/** An IP address as a number of 32 or 128 bits. */
export interface IpAddress {
  readonly family: IpFamily;
  readonly value: bigint;
}

/** An address range; `address` is the first address of the range. */
export interface Cidr {
  readonly family: IpFamily;
  readonly address: bigint;
  readonly prefixLength: number;
}

/** Bits of an address of a family. */
export const ADDRESS_BITS = { 4: 32, 6: 128 } as const satisfies Record<IpFamily, number>;

/** "10.0.0.1" or "fd00::1" → its number; undefined when the text is no address (RFC 4291 §2.2; no zone). */
export function parseIp(text: string): IpAddress | undefined {
  if (!text.includes(':')) {
    const value = parseIpv4(text);
    return value === undefined ? undefined : { family: 4, value };
  }
  const value = parseIpv6(text);
  return value === undefined ? undefined : { family: 6, value };
}

/** The canonical text of an address (RFC 5952): "fd00::1". */
export function formatIp({ family, value }: IpAddress): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    Number((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16),
  );
  const run = longestZeroRun(groups);
  if (run.length < 2) return groups.join(':');
  return `${groups.slice(0, run.start).join(':')}::${groups.slice(run.start + run.length).join(':')}`;
}

/** The address's 4 or 16 bytes in network order. */
export function ipToBytes({ family, value }: IpAddress): Uint8Array {
  const bytes = new Uint8Array(ADDRESS_BITS[family] / 8);
  for (let i = 0; i < bytes.length; i += 1) {
    bytes[i] = Number((value >> BigInt(8 * (bytes.length - 1 - i))) & 255n);
  }
  return bytes;
}

/** The address of 4 or 16 bytes in network order. */
export function ipFromBytes(bytes: Uint8Array): IpAddress {
  const value = bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
  return { family: bytes.length === 4 ? 4 : 6, value };
}

/** "10.96.0.0/12" → its range; host bits are dropped; undefined when the text is no CIDR (RFC 4632). */
export function parseCidr(text: string): Cidr | undefined {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  const ip = match && parseIp(match[1]!);
  if (!ip) return undefined;
  const prefixLength = Number(match[2]);
  if (prefixLength > ADDRESS_BITS[ip.family] || String(prefixLength) !== match[2]) return undefined;
  const hostBits = BigInt(ADDRESS_BITS[ip.family] - prefixLength);
  return { family: ip.family, address: (ip.value >> hostBits) << hostBits, prefixLength };
}

/** "10.96.0.0/12" */
export function formatCidr({ family, address, prefixLength }: Cidr): string {
  return `${formatIp({ family, value: address })}/${prefixLength}`;
}

/** How many addresses a range has. */
export function cidrSize({ family, prefixLength }: Cidr): bigint {
  return 1n << BigInt(ADDRESS_BITS[family] - prefixLength);
}

/** The address at an offset from the first of a range, 0 or more; undefined outside. */
export function nthAddress(cidr: Cidr, index: number): string | undefined {
  if (index < 0 || BigInt(index) >= cidrSize(cidr)) return undefined;
  return formatIp({ family: cidr.family, value: cidr.address + BigInt(index) });
}

/**
 * The range at an index among those of a longer prefix: "10.244.0.0/16", 24, 3 → "10.244.3.0/24"; undefined outside,
 * and for a prefix that is shorter than the range's or longer than an address.
 */
export function nthSubnet(cidr: Cidr, prefixLength: number, index: bigint): Cidr | undefined {
  if (prefixLength < cidr.prefixLength || prefixLength > ADDRESS_BITS[cidr.family]) return undefined;
  const size = cidrSize({ ...cidr, prefixLength });
  if (index < 0n || index >= cidrSize(cidr) / size) return undefined;
  return { family: cidr.family, address: cidr.address + index * size, prefixLength };
}

/** True when the two ranges share an address. */
export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  if (a.family !== b.family) return false;
  const shift = BigInt(ADDRESS_BITS[a.family] - Math.min(a.prefixLength, b.prefixLength));
  return a.address >> shift === b.address >> shift;
}

/** True when the address lies in the range. */
export function cidrContains(cidr: Cidr, ip: IpAddress): boolean {
  const shift = BigInt(ADDRESS_BITS[cidr.family] - cidr.prefixLength);
  return cidr.family === ip.family && cidr.address >> shift === ip.value >> shift;
}

/** "::1" → "[::1]"; an IPv4 address or a name stays. */
export function formatUrlHost(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
}

/** "10.0.0.1", 6443 → "10.0.0.1:6443"; "::1", 6443 → "[::1]:6443" */
export function formatHostPort(host: string, port: number): string {
  return `${formatUrlHost(host)}:${port}`;
}

function parseIpv4(text: string): bigint | undefined {
  if (!/^(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}$/.test(text)) return undefined;
  const parts = text.split('.').map(Number);
  if (parts.some((part) => part > 255)) return undefined;
  return parts.reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
}

function parseIpv6(text: string): bigint | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half) => parseGroups(half));
  if (!head || (halves.length === 2 && !tail)) return undefined;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const groups = [...head, ...Array<number>(missing).fill(0), ...(tail ?? [])];
  return groups.reduce((sum, group) => (sum << 16n) | BigInt(group), 0n);
}

function parseGroups(text: string): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (const [i, part] of parts.entries()) {
    if (i === parts.length - 1 && part.includes('.')) {
      const value = parseIpv4(part);
      if (value === undefined) return undefined;
      groups.push(Number(value >> 16n), Number(value & 0xffffn));
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      groups.push(Number.parseInt(part, 16));
    }
  }
  return groups;
}

function longestZeroRun(groups: readonly string[]): { readonly start: number; readonly length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start += 1) {
    let length = 0;
    while (groups[start + length] === '0') length += 1;
    if (length > best.length) best = { start, length };
  }
  return best;
}
