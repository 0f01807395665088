import { createPrivateKey, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto';
import { TkadmError } from '../../base/errors.ts';
import * as der from '../component/der.ts';
import { OID_SUBJECT_ALT_NAME, oidOf, parseCertificateRequest } from './csr-parse.ts';

export interface SignRequest {
  readonly caCertPem: string;
  readonly caKeyPem: string;
  readonly csrPem: string;
  /** `spec.usages` of a CertificateSigningRequest: "digital signature", "client auth", ... */
  readonly usages: readonly string[];
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** Bits of the keyUsage extension (RFC 5280 §4.2.1.3). */
const KEY_USAGE_BITS: Readonly<Record<string, number>> = {
  signing: 0,
  'digital signature': 0,
  'content commitment': 1,
  'key encipherment': 2,
  'data encipherment': 3,
  'key agreement': 4,
  'cert sign': 5,
  'crl sign': 6,
  'encipher only': 7,
  'decipher only': 8,
};

const EXTENDED_KEY_USAGES: Readonly<Record<string, string>> = {
  any: '2.5.29.37.0',
  'server auth': '1.3.6.1.5.5.7.3.1',
  'client auth': '1.3.6.1.5.5.7.3.2',
  'code signing': '1.3.6.1.5.5.7.3.3',
  'email protection': '1.3.6.1.5.5.7.3.4',
  's/mime': '1.3.6.1.5.5.7.3.4',
  'ipsec end system': '1.3.6.1.5.5.7.3.5',
  'ipsec tunnel': '1.3.6.1.5.5.7.3.6',
  'ipsec user': '1.3.6.1.5.5.7.3.7',
  timestamping: '1.3.6.1.5.5.7.3.8',
  'ocsp signing': '1.3.6.1.5.5.7.3.9',
  'microsoft sgc': '1.3.6.1.4.1.311.10.3.3',
  'netscape sgc': '2.16.840.1.113730.4.1',
};

const OID_SUBJECT_KEY_IDENTIFIER = '2.5.29.14';
const OID_KEY_USAGE = '2.5.29.15';
const OID_BASIC_CONSTRAINTS = '2.5.29.19';
const OID_AUTHORITY_KEY_IDENTIFIER = '2.5.29.35';
const OID_EXTENDED_KEY_USAGE = '2.5.29.37';

/**
 * Issues the certificate that a request asks for: its subject, key and subjectAltNames, these usages and
 * times; never longer than the CA's own. PEM.
 * @throws CSR_INVALID for a malformed request or an unknown usage.
 */
export function signCertificateRequest(request: SignRequest): string {
  const csr = parseCertificateRequest(request.csrPem);
  const caKey = createPrivateKey(request.caKeyPem);
  const ca = parseIssuer(request.caCertPem);
  const notAfter = new Date(Math.min(request.notAfter.getTime(), ca.notAfter.getTime()));
  const algorithm = signatureAlgorithm(caKey);
  const san = csr.subjectAltNameDer;
  const tbs = der.sequence([
    der.context(0, [der.integer(Buffer.from([2]))]),
    der.integer(der.positive(randomBytes(16))),
    algorithm.identifier,
    ca.subject,
    der.sequence([der.time(request.notBefore), der.time(notAfter)]),
    csr.subject,
    csr.publicKey,
    der.context(3, [
      der.sequence([
        ...usageExtensions(request.usages),
        extension(OID_BASIC_CONSTRAINTS, true, der.encode(der.sequence([]))),
        ...(ca.keyIdentifier
          ? [
              extension(
                OID_AUTHORITY_KEY_IDENTIFIER,
                false,
                der.encode(der.sequence([der.contextBytes(0, ca.keyIdentifier)])),
              ),
            ]
          : []),
        ...(san ? [extension(OID_SUBJECT_ALT_NAME, der.partsOf(csr.subject).length === 0, san)] : []),
      ]),
    ]),
  ]);
  const signature = sign(algorithm.hash, der.encode(tbs), caKey);
  const certificate = der.sequence([tbs, algorithm.identifier, der.bitString(signature)]);
  return der.toPem('CERTIFICATE', der.encode(certificate));
}

interface Issuer {
  readonly subject: der.Asn1;
  readonly keyIdentifier: Buffer | undefined;
  readonly notAfter: Date;
}

function parseIssuer(pem: string): Issuer {
  const certificate = new X509Certificate(pem);
  const fields = der.partsOf(der.partsOf(der.decode(certificate.raw))[0]!);
  // [0] version, serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, [3] extensions
  const extensions = der.partsOf(der.partsOf(fields.at(-1)!)[0]!);
  const identifier = extensions
    .map((entry) => der.partsOf(entry))
    .find(([type]) => type && oidOf(type) === OID_SUBJECT_KEY_IDENTIFIER);
  return {
    subject: fields[5]!,
    keyIdentifier: identifier && der.bytesOf(der.decode(der.bytesOf(identifier.at(-1)!))),
    notAfter: new Date(certificate.validTo),
  };
}

function signatureAlgorithm(key: KeyObject): { readonly identifier: der.Asn1; readonly hash: string } {
  if (key.asymmetricKeyType === 'rsa') {
    return { identifier: der.sequence([der.oid('1.2.840.113549.1.1.11'), der.nothing()]), hash: 'sha256' };
  }
  if (key.asymmetricKeyType === 'ec') {
    const isLarge = key.asymmetricKeyDetails?.namedCurve === 'secp384r1';
    const oid = isLarge ? '1.2.840.10045.4.3.3' : '1.2.840.10045.4.3.2';
    return { identifier: der.sequence([der.oid(oid)]), hash: isLarge ? 'sha384' : 'sha256' };
  }
  throw new TkadmError(
    'CSR_INVALID',
    `Cannot sign with a key of type "${key.asymmetricKeyType}": only RSA and ECDSA are supported`,
  );
}

function usageExtensions(usages: readonly string[]): der.Asn1[] {
  const bits: number[] = [];
  const extended: string[] = [];
  for (const usage of usages) {
    const bit = KEY_USAGE_BITS[usage];
    const oid = EXTENDED_KEY_USAGES[usage];
    if (bit !== undefined) bits.push(bit);
    else if (oid !== undefined) extended.push(oid);
    else throw new TkadmError('CSR_INVALID', `Cannot sign certificate request: usage "${usage}" is unknown`);
  }
  const extensions: der.Asn1[] = [];
  if (bits.length > 0) extensions.push(extension(OID_KEY_USAGE, true, der.encode(formatBits(bits))));
  if (extended.length > 0) {
    const value = der.sequence([...new Set(extended)].map((oid) => der.oid(oid)));
    extensions.push(extension(OID_EXTENDED_KEY_USAGE, false, der.encode(value)));
  }
  return extensions;
}

/** A named-bit BIT STRING without trailing zero bits (X.690 §11.2.2). */
function formatBits(bits: readonly number[]): der.Asn1 {
  const last = Math.max(...bits);
  const bytes = Buffer.alloc(Math.floor(last / 8) + 1);
  for (const bit of bits) bytes[bit >> 3]! |= 0x80 >> (bit & 7);
  return der.bitString(bytes, 7 - (last % 8));
}

function extension(oid: string, isCritical: boolean, value: Uint8Array): der.Asn1 {
  return der.sequence([der.oid(oid), ...(isCritical ? [der.boolean(true)] : []), der.octetString(value)]);
}
