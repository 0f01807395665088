import { createPrivateKey, createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { isIP } from 'node:net';
import {
  bitString,
  boolean,
  der,
  integer,
  octetString,
  oid,
  sequence,
  set,
  time,
  utf8String,
} from './der.ts';

const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));

export interface Subject {
  readonly commonName: string;
  readonly organization?: string;
}

/** A fresh ECDSA P-256 private key, PEM (SEC 1 "EC PRIVATE KEY" as the kubelet writes it). */
export function generateKeyPem(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  return privateKey.export({ type: 'sec1', format: 'pem' }) as string;
}

export interface RequestOptions {
  readonly subject: Subject;
  /** DNS names and IP addresses to ask for (PKCS #9 extensionRequest, RFC 2985 §5.4.2). */
  readonly names: readonly string[];
}

/** A certificate request (RFC 2986) of an EC key, PEM. */
export function buildCertificateRequest({ subject, names }: RequestOptions, keyPem: string): string {
  const wanted = sequence(oid('1.2.840.113549.1.9.14'), set(sequence(formatAlternatives(names))));
  const attributes = names.length > 0 ? [wanted] : [];
  const info = sequence(
    integer(Buffer.from([0])),
    formatName(subject),
    publicKeyDer(keyPem),
    der(0xa0, ...attributes),
  );
  const request = sequence(info, ECDSA_WITH_SHA256, bitString(signDer(info, keyPem)));
  return formatPem('CERTIFICATE REQUEST', request);
}

export interface SelfSignedOptions {
  readonly subject: Subject;
  /** DNS names and IP addresses. */
  readonly names: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** A self-signed server certificate (RFC 5280) over an EC key, PEM. */
export function buildSelfSignedCertificate(options: SelfSignedOptions, keyPem: string): string {
  const name = formatName(options.subject);
  const body = sequence(
    der(0xa0, integer(Buffer.from([2]))),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    ECDSA_WITH_SHA256,
    name,
    sequence(time(options.notBefore), time(options.notAfter)),
    name,
    publicKeyDer(keyPem),
    der(0xa3, sequence(...formatExtensions(options.names))),
  );
  return formatPem('CERTIFICATE', sequence(body, ECDSA_WITH_SHA256, bitString(signDer(body, keyPem))));
}

function formatExtensions(names: readonly string[]): Buffer[] {
  return [
    // keyUsage: digitalSignature, keyEncipherment, keyCertSign
    extension('2.5.29.15', bitString(Buffer.from([0b10100100]), 2), true),
    extension('2.5.29.37', sequence(oid('1.3.6.1.5.5.7.3.1'))),
    extension('2.5.29.19', sequence(boolean(true)), true),
    formatAlternatives(names),
  ];
}

function formatAlternatives(names: readonly string[]): Buffer {
  const alternatives = names.map((name) =>
    isIP(name) ? der(0x87, addressBytes(name)) : der(0x82, Buffer.from(name, 'ascii')),
  );
  return extension('2.5.29.17', sequence(...alternatives));
}

function extension(id: string, value: Buffer, isCritical = false): Buffer {
  return sequence(oid(id), ...(isCritical ? [boolean(true)] : []), octetString(value));
}

function formatName({ commonName, organization }: Subject): Buffer {
  const part = (id: string, text: string) => set(sequence(oid(id), utf8String(text)));
  return sequence(...(organization ? [part('2.5.4.10', organization)] : []), part('2.5.4.3', commonName));
}

/** 4 or 16 bytes of an address in text form. */
export function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail] = address.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array<string>(zeros).fill('0'), ...right];
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

function publicKeyDer(keyPem: string): Buffer {
  return createPublicKey(createPrivateKey(keyPem)).export({ type: 'spki', format: 'der' });
}

function signDer(body: Buffer, keyPem: string): Buffer {
  return sign('sha256', body, { key: createPrivateKey(keyPem), dsaEncoding: 'der' });
}

function formatPem(label: string, body: Buffer): string {
  const lines = body.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
