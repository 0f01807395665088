import type { asn1 } from 'node-forge';
import forge from 'node-forge/lib/asn1.js';

export type Asn1 = asn1.Asn1;

const { Class, Type } = forge;

/** Object identifiers by the names that this folder uses (RFC 5280, RFC 5758, RFC 2986). */
export const OIDS = {
  commonName: '2.5.4.3',
  organization: '2.5.4.10',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  extensionRequest: '1.2.840.113549.1.9.14',
  sha256WithRsa: '1.2.840.113549.1.1.11',
  sha384WithRsa: '1.2.840.113549.1.1.12',
  sha512WithRsa: '1.2.840.113549.1.1.13',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  ecdsaWithSha384: '1.2.840.10045.4.3.3',
  ecdsaWithSha512: '1.2.840.10045.4.3.4',
  ed25519: '1.3.101.112',
} as const;

/** SEQUENCE */
export function sequence(...items: readonly Asn1[]): Asn1 {
  return forge.create(Class.UNIVERSAL, Type.SEQUENCE, true, [...items]);
}

/** SET; DER orders its elements by their encoding (X.690 §11.6). */
export function set(...items: readonly Asn1[]): Asn1 {
  const sorted = [...items].sort((a, b) => Buffer.compare(encode(a), encode(b)));
  return forge.create(Class.UNIVERSAL, Type.SET, true, sorted);
}

/** OBJECT IDENTIFIER from its dotted text. */
export function oid(text: string): Asn1 {
  return primitive(Type.OID, forge.oidToDer(text).getBytes());
}

/** INTEGER from its two's complement bytes. */
export function integer(bytes: Uint8Array): Asn1 {
  return primitive(Type.INTEGER, binary(bytes));
}

/** BOOLEAN TRUE; FALSE is a DEFAULT everywhere here and so left out. */
export function booleanTrue(): Asn1 {
  return primitive(Type.BOOLEAN, '\xff');
}

/** BIT STRING with a count of unused bits at its end. */
export function bitString(bytes: Uint8Array, unusedBits = 0): Asn1 {
  return primitive(Type.BITSTRING, String.fromCharCode(unusedBits) + binary(bytes));
}

/** OCTET STRING that holds bytes or the encoding of a structure. */
export function octetString(content: Uint8Array | Asn1): Asn1 {
  return primitive(Type.OCTETSTRING, binary(content instanceof Uint8Array ? content : encode(content)));
}

/** NULL */
export function nullValue(): Asn1 {
  return primitive(Type.NULL, '');
}

/** PrintableString when the text allows it, else UTF8String, as Go's encoder chooses. */
export function directoryString(text: string): Asn1 {
  if (/^[A-Za-z0-9 '()+,\-./:=?]*$/.test(text)) return primitive(Type.PRINTABLESTRING, text);
  return primitive(Type.UTF8, binary(Buffer.from(text, 'utf8')));
}

/** UTCTime through 2049, then GeneralizedTime (RFC 5280 §4.1.2.5). */
export function time(date: Date): Asn1 {
  const isUtc = date.getUTCFullYear() < 2050;
  return primitive(
    isUtc ? Type.UTCTIME : Type.GENERALIZEDTIME,
    isUtc ? forge.dateToUtcTime(date) : forge.dateToGeneralizedTime(date),
  );
}

/** [tag] EXPLICIT or a constructed [tag] IMPLICIT. */
export function tagged(tag: number, ...items: readonly Asn1[]): Asn1 {
  return forge.create(Class.CONTEXT_SPECIFIC, tag, true, [...items]);
}

/** [tag] IMPLICIT of a primitive type. */
export function taggedPrimitive(tag: number, bytes: Uint8Array): Asn1 {
  return forge.create(Class.CONTEXT_SPECIFIC, tag, false, binary(bytes));
}

/** DER → structure. @throws Error when the bytes are no DER. */
export function decode(der: Uint8Array): Asn1 {
  return forge.fromDer(binary(der), { parseAllBytes: true, decodeBitStrings: false } as never);
}

/** Structure → DER. */
export function encode(value: Asn1): Buffer {
  return Buffer.from(forge.toDer(value).getBytes(), 'latin1');
}

/** The elements of a SEQUENCE, a SET or a constructed tag. @throws Error when it is primitive. */
export function childrenOf(value: Asn1 | undefined): readonly Asn1[] {
  if (!value || !Array.isArray(value.value)) throw new Error('the structure is no certificate structure');
  return value.value;
}

/** The content bytes of a primitive. @throws Error when it is constructed. */
export function bytesOf(value: Asn1 | undefined): Buffer {
  if (!value || typeof value.value !== 'string') throw new Error('the structure is no certificate structure');
  return Buffer.from(value.value, 'latin1');
}

/** Dotted text of an OBJECT IDENTIFIER. */
export function oidOf(value: Asn1 | undefined): string {
  return forge.derToOid(bytesOf(value).toString('latin1'));
}

/** Text of a string type. */
export function textOf(value: Asn1 | undefined): string {
  return bytesOf(value).toString('utf8');
}

/** The date of a UTCTime or GeneralizedTime. */
export function dateOf(value: Asn1 | undefined): Date {
  const text = textOf(value);
  return value!.type === Type.UTCTIME ? forge.utcTimeToDate(text) : forge.generalizedTimeToDate(text);
}

/** True for a context-specific element with this tag. */
export function hasTag(value: Asn1, tag: number): boolean {
  return value.tagClass === Class.CONTEXT_SPECIFIC && (value.type as number) === tag;
}

/** "-----BEGIN LABEL-----" text of DER bytes. */
export function formatPem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The DER bytes of every PEM block with this label, in order. */
export function parsePem(label: string, pem: string): readonly Buffer[] {
  const pattern = new RegExp(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]+)-----END ${label}-----`, 'g');
  return [...pem.matchAll(pattern)].map((match) => Buffer.from(match[1]!, 'base64'));
}

function primitive(type: asn1.Type, value: string): Asn1 {
  return forge.create(Class.UNIVERSAL, type, false, value);
}

function binary(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
