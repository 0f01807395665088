import { BlockList, isIP, isIPv4 } from 'node:net';

export type IpFamily = 'IPv4' | 'IPv6';

/** Larger ranges are used up to here only, as upstream does for IPv6. */
const MAX_ADDRESSES = 2 ** 20;

/** A CIDR as a base address and a number of addresses that count from it. */
export interface IpRange {
  readonly cidr: string;
  readonly family: IpFamily;
  /** How many addresses after the network address may be given out: offsets 1 to `size`. */
  readonly size: number;
  /** "10.96.0.0/12", 10 → "10.96.0.10". */
  address(offset: number): string;
  /** Offset of an address, undefined when it lies outside. */
  offset(address: string): number | undefined;
}

/** @throws Error for text that is no CIDR */
export function parseIpRange(cidr: string): IpRange {
  const [network = '', prefixText = ''] = cidr.split('/');
  const version = isIP(network);
  const bits = version === 4 ? 32 : 128;
  const prefix = Number(prefixText);
  if (version === 0 || prefixText === '' || !Number.isInteger(prefix) || prefix < 0 || prefix > bits) {
    throw new Error(`"${cidr}" is no CIDR`);
  }
  const family: IpFamily = version === 4 ? 'IPv4' : 'IPv6';
  const hostBits = BigInt(bits - prefix);
  const base = (parseAddress(network) >> hostBits) << hostBits;
  const total = Number(1n << (hostBits > 40n ? 40n : hostBits));
  // The network address is never given out, nor is the broadcast address of an IPv4 range.
  const size = Math.min(MAX_ADDRESSES, total - (family === 'IPv4' ? 2 : 1));
  const members = new BlockList();
  members.addSubnet(network, prefix, family === 'IPv4' ? 'ipv4' : 'ipv6');
  return {
    cidr,
    family,
    size,
    address: (offset) => formatAddress(base + BigInt(offset), family),
    offset(address) {
      const wanted = isIP(address) === 0 ? undefined : familyOf(address);
      if (wanted !== family || !members.check(address, family === 'IPv4' ? 'ipv4' : 'ipv6')) return undefined;
      const offset = parseAddress(address) - base;
      return offset >= 1n && offset <= BigInt(size) ? Number(offset) : undefined;
    },
  };
}

/** The family of an address that `isIP` accepts. */
export function familyOf(address: string): IpFamily {
  return isIPv4(address) ? 'IPv4' : 'IPv6';
}

function parseAddress(address: string): bigint {
  if (isIPv4(address)) return address.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
  return expandIpv6(address).reduce((sum, group) => (sum << 16n) | BigInt(group), 0n);
}

function expandIpv6(address: string): number[] {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address);
  const plain = dotted ? `${dotted[1]}${ipv4Groups(dotted[2]!)}` : address;
  const [head = '', tail] = plain.split('::');
  const groups = (text: string) =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const before = groups(head);
  if (tail === undefined) return before;
  const after = groups(tail);
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
}

function ipv4Groups(address: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number);
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

function formatAddress(value: bigint, family: IpFamily): string {
  if (family === 'IPv4') {
    return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
  }
  const groups = [7n, 6n, 5n, 4n, 3n, 2n, 1n, 0n].map((i) => Number((value >> (i * 16n)) & 0xffffn));
  return compressIpv6(groups);
}

/** RFC 5952: lower case, the first longest run of two or more zero groups as "::". */
function compressIpv6(groups: readonly number[]): string {
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start += 1) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length += 1;
    if (length > best.length) best = { start, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.start < 0) return hex.join(':');
  return `${hex.slice(0, best.start).join(':')}::${hex.slice(best.start + best.length).join(':')}`;
}
