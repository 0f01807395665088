import { TkadmError } from '../base/errors.ts';

/** An IPv4 network: first address as a number, and its prefix length. */
export interface Ipv4Network {
  readonly base: number;
  readonly prefix: number;
}

/** "10.0.0.1" → 167772161. @throws NETWORK_CONFIG */
export function parseIpv4(text: string): number {
  const parts = text.split('.');
  const isValid = parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255);
  if (!isValid) throw new TkadmError('NETWORK_CONFIG', `Cannot use address "${text}": it is no IPv4 address`);
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** 167772161 → "10.0.0.1" */
export function formatIpv4(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');
}

/** "10.244.1.0/24"; host bits are cleared. @throws NETWORK_CONFIG */
export function parseIpv4Network(text: string): Ipv4Network {
  const [address = '', prefixText = ''] = text.split('/');
  const prefix = Number(prefixText);
  if (!/^\d{1,2}$/.test(prefixText) || prefix > 32) {
    throw new TkadmError('NETWORK_CONFIG', `Cannot use network "${text}": it is no IPv4 CIDR`);
  }
  const size = 2 ** (32 - prefix);
  return { base: Math.floor(parseIpv4(address) / size) * size, prefix };
}

/** True for "10.1.2.3", false for IPv6 and names. */
export function isIpv4(text: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}$/.test(text);
}
