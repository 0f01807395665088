import forge from 'node-forge';

/** ASN.1 values as node-forge has them; these helpers name the few forms that certificates need. */
export type Asn1 = forge.asn1.Asn1;

const { asn1, util } = forge;

const { UNIVERSAL, CONTEXT_SPECIFIC } = asn1.Class;

export function sequence(items: readonly Asn1[]): Asn1 {
  return asn1.create(UNIVERSAL, asn1.Type.SEQUENCE, true, [...items]);
}

export function set(items: readonly Asn1[]): Asn1 {
  return asn1.create(UNIVERSAL, asn1.Type.SET, true, [...items]);
}

export function oid(dotted: string): Asn1 {
  return asn1.create(UNIVERSAL, asn1.Type.OID, false, asn1.oidToDer(dotted).getBytes());
}

/** An INTEGER of these big-endian two's complement bytes. */
export function integer(bytes: Uint8Array): Asn1 {
  return asn1.create(UNIVERSAL, asn1.Type.INTEGER, false, binary(bytes));
}

export function boolean(value: boolean): Asn1 {
  return asn1.create(UNIVERSAL, asn1.Type.BOOLEAN, false, value ? '\xff' : '\0');
}

export function nothing(): Asn1 {
  return asn1.create(UNIVERSAL, asn1.Type.NULL, false, '');
}

export function octetString(bytes: Uint8Array): Asn1 {
  return asn1.create(UNIVERSAL, asn1.Type.OCTETSTRING, false, binary(bytes));
}

export function bitString(bytes: Uint8Array, unusedBits = 0): Asn1 {
  return asn1.create(UNIVERSAL, asn1.Type.BITSTRING, false, String.fromCharCode(unusedBits) + binary(bytes));
}

export function utf8String(text: string): Asn1 {
  return asn1.create(UNIVERSAL, asn1.Type.UTF8, false, util.encodeUtf8(text));
}

/** Explicit [n] around the items. */
export function context(tag: number, items: readonly Asn1[]): Asn1 {
  return asn1.create(CONTEXT_SPECIFIC, tag as forge.asn1.Type, true, [...items]);
}

/** Implicit [n] of primitive bytes. */
export function contextBytes(tag: number, bytes: Uint8Array): Asn1 {
  return asn1.create(CONTEXT_SPECIFIC, tag as forge.asn1.Type, false, binary(bytes));
}

/** UTCTime before 2050, GeneralizedTime from then on (RFC 5280 §4.1.2.5). */
export function time(date: Date): Asn1 {
  return date.getUTCFullYear() < 2050
    ? asn1.create(UNIVERSAL, asn1.Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(UNIVERSAL, asn1.Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date));
}

/** A distinguished name of one attribute for each set. */
export function name(attributes: readonly (readonly [string, string])[]): Asn1 {
  return sequence(attributes.map(([type, value]) => set([sequence([oid(type), utf8String(value)])])));
}

/** The bytes with the sign bit and leading zeros cleared, so that the INTEGER is positive and minimal. */
export function positive(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[0] = (copy[0]! & 0x7f) | 0x40;
  return copy;
}

export function encode(value: Asn1): Buffer {
  return Buffer.from(asn1.toDer(value).getBytes(), 'binary');
}

export function decode(bytes: Uint8Array): Asn1 {
  return asn1.fromDer(binary(bytes));
}

/** The bytes of a primitive value. */
export function bytesOf(value: Asn1): Buffer {
  return Buffer.from(value.value as string, 'binary');
}

/** The parts of a constructed value. */
export function partsOf(value: Asn1): Asn1[] {
  return Array.isArray(value.value) ? (value.value as Asn1[]) : [];
}

export function toPem(label: string, bytes: Uint8Array): string {
  const lines =
    Buffer.from(bytes)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The first block with this label, or undefined. */
export function fromPem(label: string, text: string): Buffer | undefined {
  const match = new RegExp(`-----BEGIN ${label}-----([\\s\\S]*?)-----END ${label}-----`).exec(text);
  return match ? Buffer.from(match[1]!, 'base64') : undefined;
}

function binary(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('binary');
}

/** The bytes of a BIT STRING, which forge may have decoded further. */
export function bitsOf(value: Asn1): Buffer {
  const raw = (value as { bitStringContents?: string }).bitStringContents ?? (value.value as string);
  return Buffer.from(raw, 'binary').subarray(1);
}
