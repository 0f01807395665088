import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { formatError, TkadmError } from '../runtime/base/errors.ts';
import {
  type Asn1,
  bytesOf,
  childrenOf,
  dateOf,
  decode,
  encode,
  formatPem,
  hasTag,
  OIDS,
  parsePem,
} from './asn1.ts';
import {
  type KeyUsage,
  parseExtensions,
  parseSubjectAltNames,
  parseUsages,
  type SubjectAltNames,
} from './extensions.ts';
import { type DistinguishedName, formatName, parseName } from './names.ts';
import { verifySignature } from './signature.ts';

/** A certificate that was read: the fields that Kubernetes acts on, and what signing needs. */
export interface Certificate extends SubjectAltNames {
  readonly pem: string;
  readonly der: Buffer;
  readonly subject: DistinguishedName;
  readonly issuer: DistinguishedName;
  /** Hexadecimal. */
  readonly serialNumber: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly isCa: boolean;
  readonly usages: readonly KeyUsage[];
  readonly publicKey: KeyObject;
  /** DER of SubjectPublicKeyInfo. */
  readonly spki: Buffer;
  /** DER of the subject `Name`, copied into what this certificate issues. */
  readonly subjectDer: Buffer;
  readonly subjectKeyIdentifier: Buffer | undefined;
  readonly authorityKeyIdentifier: Buffer | undefined;
  /** Whether `signer`'s key made this certificate's signature. */
  isSignedBy(signer: KeyObject): boolean;
}

/**
 * Reads the first certificate of a PEM text.
 * @throws PKI_CERTIFICATE_INVALID
 */
export function parseCertificate(pem: string): Certificate {
  const [first] = parseCertificates(pem);
  if (!first)
    throw new TkadmError('PKI_CERTIFICATE_INVALID', 'Cannot read a certificate: the text holds no PEM block');
  return first;
}

/** Reads every certificate of a PEM bundle, in order. @throws PKI_CERTIFICATE_INVALID */
export function parseCertificates(pem: string): readonly Certificate[] {
  return parsePem('CERTIFICATE', pem).map((der) => {
    try {
      return parseDer(der);
    } catch (error) {
      throw new TkadmError('PKI_CERTIFICATE_INVALID', `Cannot read a certificate: ${formatError(error)}`, {
        cause: error,
      });
    }
  });
}

/**
 * `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }`, where
 * `TBSCertificate ::= SEQUENCE { [0] version, serialNumber, signature, issuer, validity, subject,
 * subjectPublicKeyInfo, .., [3] extensions }` (RFC 5280 §4.1).
 */
function parseDer(der: Buffer): Certificate {
  const [tbs, algorithm, signature] = childrenOf(decode(der));
  const fields = childrenOf(tbs);
  const offset = fields[0] && hasTag(fields[0], 0) ? 1 : 0;
  const [serial, , issuer, validity, subject, spkiNode] = fields.slice(offset);
  const extensionList = fields.find((field) => hasTag(field, 3));
  const extensions = parseExtensions(extensionList && childrenOf(extensionList)[0]);
  const spki = encode(spkiNode!);
  const tbsDer = encode(tbs!);
  const basicConstraints = extensions.get(OIDS.basicConstraints);
  return {
    pem: formatPem('CERTIFICATE', der),
    der,
    subject: parseName(subject),
    issuer: parseName(issuer),
    serialNumber: bytesOf(serial).toString('hex'),
    notBefore: dateOf(childrenOf(validity)[0]),
    notAfter: dateOf(childrenOf(validity)[1]),
    isCa: basicConstraints !== undefined && childrenOf(basicConstraints).length > 0,
    usages: parseUsages(extensions),
    ...parseSubjectAltNames(extensions.get(OIDS.subjectAltName)),
    publicKey: createPublicKey({ key: spki, type: 'spki', format: 'der' }),
    spki,
    subjectDer: encode(subject!),
    subjectKeyIdentifier: parseKeyIdentifier(extensions.get(OIDS.subjectKeyIdentifier)),
    authorityKeyIdentifier: parseAuthorityKey(extensions.get(OIDS.authorityKeyIdentifier)),
    isSignedBy: (signer) =>
      verifySignature(algorithm, tbsDer, { key: signer, signature: bytesOf(signature).subarray(1) }),
  };
}

function parseKeyIdentifier(value: Asn1 | undefined): Buffer | undefined {
  return value && bytesOf(value);
}

function parseAuthorityKey(value: Asn1 | undefined): Buffer | undefined {
  const item = value && childrenOf(value).find((candidate) => hasTag(candidate, 0));
  return item && bytesOf(item);
}

/** What is wrong between a certificate and its issuer; `message` names it for people. */
export interface ChainProblem {
  readonly kind: 'issuer' | 'not-ca' | 'signature' | 'not-yet-valid' | 'expired' | 'issuer-expired';
  readonly message: string;
}

/** Checks that `ca` issued `certificate` and that both are valid at `now`; [] when all holds (RFC 5280 §6.1). */
export function verifyChain(certificate: Certificate, ca: Certificate, now: Date): readonly ChainProblem[] {
  const problems: ChainProblem[] = [];
  const add = (kind: ChainProblem['kind'], message: string) => problems.push({ kind, message });
  if (formatName(certificate.issuer) !== formatName(ca.subject)) {
    add('issuer', `it was issued by "${formatName(certificate.issuer)}", not by "${formatName(ca.subject)}"`);
  } else if (!certificate.isSignedBy(ca.publicKey)) {
    add('signature', `the key of "${formatName(ca.subject)}" did not sign it`);
  }
  if (!ca.isCa) add('not-ca', `"${formatName(ca.subject)}" is no certificate authority`);
  if (now < certificate.notBefore)
    add('not-yet-valid', `it is valid from ${certificate.notBefore.toISOString()}`);
  if (now > certificate.notAfter) add('expired', `it expired at ${certificate.notAfter.toISOString()}`);
  if (now > ca.notAfter) {
    add('issuer-expired', `"${formatName(ca.subject)}" expired at ${ca.notAfter.toISOString()}`);
  }
  return problems;
}

/** The pin of a CA for discovery: "sha256:" and the hash of its SubjectPublicKeyInfo in hexadecimal (RFC 7469 §2.4). */
export function formatCaPin(certPem: string): string {
  return `sha256:${createHash('sha256').update(parseCertificate(certPem).spki).digest('hex')}`;
}
