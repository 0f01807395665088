import { isIPv4 } from 'node:net';
import { cidrContains, cidrSize, nthAddress, parseCidr, parseIp } from '../../../base/cidr.ts';

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
export function parseIpRange(text: string): IpRange {
  const range = parseCidr(text);
  if (!range) throw new Error(`"${text}" is no CIDR`);
  // The network address is never given out, nor is the broadcast address of an IPv4 range.
  const kept = range.family === 4 ? 2n : 1n;
  const given = cidrSize(range) - kept;
  const size = given < MAX_ADDRESSES ? Number(given) : MAX_ADDRESSES;
  return {
    cidr: text,
    family: range.family === 4 ? 'IPv4' : 'IPv6',
    size,
    address(offset) {
      const address = nthAddress(range, offset);
      if (address === undefined) throw new Error(`"${text}" has no address number ${offset}`);
      return address;
    },
    offset(address) {
      const ip = parseIp(address);
      if (!ip || !cidrContains(range, ip)) return undefined;
      const offset = ip.value - range.address;
      return offset >= 1n && offset <= BigInt(size) ? Number(offset) : undefined;
    },
  };
}

/** The family of an address that `isIP` accepts. */
export function familyOf(address: string): IpFamily {
  return isIPv4(address) ? 'IPv4' : 'IPv6';
}
