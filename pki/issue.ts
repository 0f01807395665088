import { createHash, type KeyObject, randomBytes } from 'node:crypto';
import { TkadmError } from '../runtime/base/errors.ts';
import {
  type Asn1,
  bitString,
  bytesOf,
  childrenOf,
  decode,
  encode,
  formatPem,
  integer,
  sequence,
  tagged,
  time,
} from './asn1.ts';
import { type Certificate, parseCertificate } from './certificate.ts';
import {
  authorityKeyExtension,
  basicConstraintsExtension,
  type KeyUsage,
  type SubjectAltNames,
  subjectAltNameExtensions,
  subjectKeyExtension,
  taggedExtensions,
  usageExtensions,
} from './extensions.ts';
import { exportSpki, generateKeyPair, type KeyAlgorithm, loadPrivateKey } from './keys.ts';
import { buildName, type DistinguishedName } from './names.ts';
import type { PrimeSearches } from './rsa.ts';
import { signatureSchemeOf } from './signature.ts';

/** A certificate authority's PEM texts. */
export interface CaPair {
  readonly certPem: string;
  readonly keyPem: string;
}

/** A certificate with its private key, PEM texts. */
export interface IssuedCertificate {
  readonly certPem: string;
  readonly keyPem: string;
}

/** When a certificate is valid; both ends belong to it. */
export interface Validity {
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** How far back a certificate's validity begins, against clocks that are behind. */
export const BACKDATING_MS = 5 * 60_000;

/** Validity from five minutes ago to `periodMs` from now. */
export function validityFrom(now: Date, periodMs: number): Validity {
  return {
    notBefore: new Date(now.getTime() - BACKDATING_MS),
    notAfter: new Date(now.getTime() + periodMs),
  };
}

/** The subject and use of a certificate to issue. */
export interface CertificateSpec extends DistinguishedName {
  readonly usages: readonly KeyUsage[];
}

export interface CreateCaOptions extends Validity {
  readonly commonName: string;
  readonly algorithm: KeyAlgorithm;
  /** Shared with other keys that are made at the same time. */
  readonly searches?: PrimeSearches | undefined;
}

export interface IssueOptions extends Validity {
  readonly spec: CertificateSpec;
  readonly subjectAltNames?: SubjectAltNames | undefined;
  readonly ca: CaPair;
  readonly algorithm: KeyAlgorithm;
  /** Shared with other keys that are made at the same time. */
  readonly searches?: PrimeSearches | undefined;
}

const CA_USAGES: readonly KeyUsage[] = ['digital signature', 'key encipherment', 'cert sign'];
/** Beside the extended usages of its purpose, a leaf has these. */
export const LEAF_USAGES: readonly KeyUsage[] = ['digital signature', 'key encipherment'];
const VERSION_3 = Uint8Array.of(2);

/** Makes a self-signed certificate authority; its one subjectAltName is its common name. */
export async function createCa(options: CreateCaOptions): Promise<CaPair> {
  const { privateKeyPem } = await generateKeyPair(options.algorithm, options.searches);
  const key = loadPrivateKey(privateKeyPem);
  const name = buildName({ commonName: options.commonName, organizations: [] });
  const spki = exportSpki(key);
  const certPem = signCertificate({
    ...options,
    issuer: name,
    subject: name,
    spki,
    extensions: [
      ...usageExtensions(CA_USAGES),
      basicConstraintsExtension(true),
      subjectKeyExtension(keyIdentifierOf(spki)),
      ...subjectAltNameExtensions({ dnsNames: [options.commonName.toLowerCase()], ipAddresses: [] }),
    ],
    signingKey: key,
  });
  return { certPem, keyPem: privateKeyPem };
}

/**
 * Generates a key and issues a certificate for it.
 * @throws PKI_KEY_INVALID, PKI_CERTIFICATE_INVALID when the CA cannot be read or its two halves differ.
 */
export async function issueCertificate(options: IssueOptions): Promise<IssuedCertificate> {
  const { privateKeyPem } = await generateKeyPair(options.algorithm, options.searches);
  const certPem = issueForPublicKey({
    ...options,
    spec: { ...options.spec, usages: [...LEAF_USAGES, ...options.spec.usages] },
    spki: exportSpki(loadPrivateKey(privateKeyPem)),
  });
  return { certPem, keyPem: privateKeyPem };
}

/** Issues a leaf certificate for a public key whose owner made it; exactly the usages of `spec`. */
function issueForPublicKey(
  options: Validity & {
    readonly spec: CertificateSpec;
    readonly subjectAltNames?: SubjectAltNames | undefined;
    readonly ca: CaPair;
    readonly spki: Uint8Array;
  },
): string {
  return issueLeaf({
    ...options,
    subject: buildName(options.spec),
    usages: options.spec.usages,
    alternatives: subjectAltNameExtensions(options.subjectAltNames ?? { dnsNames: [], ipAddresses: [] }),
  });
}

/** Issues a leaf certificate for a `Name` and a SubjectAltName extension as they are. */
export function issueLeaf(
  options: Validity & {
    readonly subject: Asn1;
    readonly usages: readonly KeyUsage[];
    readonly alternatives: readonly Asn1[];
    readonly ca: CaPair;
    readonly spki: Uint8Array;
  },
): string {
  const { certificate: ca, key } = loadCa(options.ca);
  return signCertificate({
    ...options,
    issuer: decode(ca.subjectDer),
    extensions: [
      ...usageExtensions(options.usages),
      basicConstraintsExtension(false),
      ...(ca.subjectKeyIdentifier ? [authorityKeyExtension(ca.subjectKeyIdentifier)] : []),
      ...options.alternatives,
    ],
    signingKey: key,
  });
}

/** Reads a CA pair and checks that key and certificate belong together. @throws PKI_CERTIFICATE_INVALID */
export function loadCa(ca: CaPair): { readonly certificate: Certificate; readonly key: KeyObject } {
  const certificate = parseCertificate(ca.certPem);
  const key = loadPrivateKey(ca.keyPem);
  if (!exportSpki(key).equals(certificate.spki)) {
    throw new TkadmError(
      'PKI_CERTIFICATE_INVALID',
      `Cannot sign with CA "${certificate.subject.commonName}": its key does not belong to its certificate`,
    );
  }
  return { certificate, key };
}

/** The key identifier of a new CA: the first 20 bytes of the SHA-256 of its public key (RFC 7093 §2). */
function keyIdentifierOf(spki: Uint8Array): Buffer {
  const publicKeyBits = bytesOf(childrenOf(decode(spki))[1]).subarray(1);
  return createHash('sha256').update(publicKeyBits).digest().subarray(0, 20);
}

interface ToBeSigned extends Validity {
  readonly issuer: Asn1;
  readonly subject: Asn1;
  readonly spki: Uint8Array;
  readonly extensions: readonly Asn1[];
  readonly signingKey: KeyObject;
}

function signCertificate(input: ToBeSigned): string {
  const scheme = signatureSchemeOf(input.signingKey);
  const tbs = sequence(
    tagged(0, integer(VERSION_3)),
    integer(randomSerial()),
    scheme.algorithm,
    input.issuer,
    sequence(time(input.notBefore), time(input.notAfter)),
    input.subject,
    decode(input.spki),
    taggedExtensions(3, input.extensions),
  );
  const signature = scheme.sign(encode(tbs));
  return formatPem('CERTIFICATE', encode(sequence(tbs, scheme.algorithm, bitString(signature))));
}

/** A positive serial number of at most 63 bits, in the fewest bytes (X.690 §8.3.2). */
function randomSerial(): Uint8Array {
  const bytes = randomBytes(8);
  bytes[0]! &= 0x7f;
  if (bytes[0] === 0) bytes[0] = 1;
  return bytes;
}
