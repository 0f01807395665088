import { formatIp, ipFromBytes, ipToBytes, parseIp } from '../runtime/base/cidr.ts';
import {
  type Asn1,
  bitString,
  booleanTrue,
  bytesOf,
  childrenOf,
  decode,
  hasTag,
  OIDS,
  octetString,
  oid,
  oidOf,
  sequence,
  tagged,
  taggedPrimitive,
  textOf,
} from './asn1.ts';

/** The names that a certificate is valid for. */
export interface SubjectAltNames {
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
}

/**
 * Every key usage by its name in `certificates.k8s.io/v1`: a bit of KeyUsage (RFC 5280 §4.2.1.3) or the
 * identifier of an extended one (§4.2.1.12).
 */
export const KEY_USAGES = [
  { name: 'signing', bit: 0 },
  { name: 'digital signature', bit: 0 },
  { name: 'content commitment', bit: 1 },
  { name: 'key encipherment', bit: 2 },
  { name: 'data encipherment', bit: 3 },
  { name: 'key agreement', bit: 4 },
  { name: 'cert sign', bit: 5 },
  { name: 'crl sign', bit: 6 },
  { name: 'encipher only', bit: 7 },
  { name: 'decipher only', bit: 8 },
  { name: 'any', oid: '2.5.29.37.0' },
  { name: 'server auth', oid: '1.3.6.1.5.5.7.3.1' },
  { name: 'client auth', oid: '1.3.6.1.5.5.7.3.2' },
  { name: 'code signing', oid: '1.3.6.1.5.5.7.3.3' },
  { name: 'email protection', oid: '1.3.6.1.5.5.7.3.4' },
  { name: 's/mime', oid: '1.3.6.1.5.5.7.3.4' },
  { name: 'ipsec end system', oid: '1.3.6.1.5.5.7.3.5' },
  { name: 'ipsec tunnel', oid: '1.3.6.1.5.5.7.3.6' },
  { name: 'ipsec user', oid: '1.3.6.1.5.5.7.3.7' },
  { name: 'timestamping', oid: '1.3.6.1.5.5.7.3.8' },
  { name: 'ocsp signing', oid: '1.3.6.1.5.5.7.3.9' },
  { name: 'microsoft sgc', oid: '1.3.6.1.4.1.311.10.3.3' },
  { name: 'netscape sgc', oid: '2.16.840.1.113730.4.1' },
] as const satisfies readonly { readonly name: string; readonly bit?: number; readonly oid?: string }[];

export type KeyUsage = (typeof KEY_USAGES)[number]['name'];

const DNS_NAME_TAG = 2;
const IP_ADDRESS_TAG = 7;

/**
 * DNS names lower-cased, sorted and unique; addresses canonical and unique in the order first seen.
 * Each text is taken for an address when it parses as one.
 */
export function normalizeSubjectAltNames(names: readonly string[]): SubjectAltNames {
  const dnsNames = new Set<string>();
  const ipAddresses = new Set<string>();
  for (const name of names) {
    const ip = parseIp(name);
    if (ip) ipAddresses.add(formatIp(ip));
    else if (name !== '') dnsNames.add(name.toLowerCase());
  }
  return { dnsNames: [...dnsNames].sort(), ipAddresses: [...ipAddresses] };
}

/** KeyUsage and ExtendedKeyUsage extensions of a set of usages; an empty one is left out. */
export function usageExtensions(usages: readonly KeyUsage[]): readonly Asn1[] {
  const rows = KEY_USAGES.filter((row) => usages.includes(row.name));
  const bits = rows.flatMap((row) => ('bit' in row ? [row.bit] : []));
  const oids = new Set(rows.flatMap((row) => ('oid' in row ? [row.oid] : [])));
  return [
    ...(bits.length > 0 ? [extension(OIDS.keyUsage, keyUsageBits(bits), true)] : []),
    ...(oids.size > 0 ? [extension(OIDS.extendedKeyUsage, sequence(...[...oids].map(oid)))] : []),
  ];
}

/** BasicConstraints, critical: `cA` TRUE without a path length, or absent (RFC 5280 §4.2.1.9). */
export function basicConstraintsExtension(isCa: boolean): Asn1 {
  return extension(OIDS.basicConstraints, isCa ? sequence(booleanTrue()) : sequence(), true);
}

/** SubjectKeyIdentifier */
export function subjectKeyExtension(keyIdentifier: Uint8Array): Asn1 {
  return extension(OIDS.subjectKeyIdentifier, octetString(keyIdentifier));
}

/** AuthorityKeyIdentifier with the issuer's key identifier. */
export function authorityKeyExtension(keyIdentifier: Uint8Array): Asn1 {
  return extension(OIDS.authorityKeyIdentifier, sequence(taggedPrimitive(0, keyIdentifier)));
}

/** SubjectAltName; [] without any name. */
export function subjectAltNameExtensions(names: SubjectAltNames): readonly Asn1[] {
  const items = [
    ...names.dnsNames.map((name) => taggedPrimitive(DNS_NAME_TAG, Buffer.from(name, 'latin1'))),
    ...names.ipAddresses.map((text) => taggedPrimitive(IP_ADDRESS_TAG, ipToBytes(parseIp(text)!))),
  ];
  return items.length === 0 ? [] : [extension(OIDS.subjectAltName, sequence(...items))];
}

/** `Extensions` by object identifier: the decoded value of each. */
export function parseExtensions(list: Asn1 | undefined): ReadonlyMap<string, Asn1> {
  if (!list) return new Map();
  return new Map(
    childrenOf(list).map((item) => {
      const parts = childrenOf(item);
      return [oidOf(parts[0]), decode(bytesOf(parts.at(-1)))];
    }),
  );
}

/** The names of a SubjectAltName value; other kinds of name are left out. */
export function parseSubjectAltNames(value: Asn1 | undefined): SubjectAltNames {
  const items = value ? childrenOf(value) : [];
  return {
    dnsNames: items.filter((item) => hasTag(item, DNS_NAME_TAG)).map(textOf),
    ipAddresses: items
      .filter((item) => hasTag(item, IP_ADDRESS_TAG))
      .map((item) => formatIp(ipFromBytes(bytesOf(item)))),
  };
}

/** The usages that KeyUsage and ExtendedKeyUsage values name; each by its first name in KEY_USAGES. */
export function parseUsages(extensions: ReadonlyMap<string, Asn1>): readonly KeyUsage[] {
  const bitsValue = extensions.get(OIDS.keyUsage);
  const bytes = bitsValue ? bytesOf(bitsValue).subarray(1) : Buffer.alloc(0);
  const oidsValue = extensions.get(OIDS.extendedKeyUsage);
  const oids = oidsValue ? childrenOf(oidsValue).map(oidOf) : [];
  const found = KEY_USAGES.filter((row) =>
    'bit' in row ? ((bytes[row.bit >> 3] ?? 0) >> (7 - (row.bit & 7))) & 1 : oids.includes(row.oid),
  );
  const aliases: readonly string[] = ['signing', 's/mime'];
  return found.map((row) => row.name).filter((name) => !aliases.includes(name));
}

/** An `Extension` around a value (RFC 5280 §4.1). */
export function extension(identifier: string, value: Asn1, isCritical = false): Asn1 {
  return sequence(oid(identifier), ...(isCritical ? [booleanTrue()] : []), octetString(value));
}

function keyUsageBits(bits: readonly number[]): Asn1 {
  const last = Math.max(...bits);
  const bytes = new Uint8Array((last >> 3) + 1);
  for (const bit of bits) bytes[bit >> 3]! |= 0x80 >> (bit & 7);
  return bitString(bytes, 7 - (last & 7));
}

/** `[tag] EXPLICIT Extensions` of a certificate (3) or the attribute of a request. */
export function taggedExtensions(tag: number, extensions: readonly Asn1[]): Asn1 {
  return tagged(tag, sequence(...extensions));
}
