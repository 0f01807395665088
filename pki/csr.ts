import { createPublicKey } from 'node:crypto';
import { formatError, isTkadmError, TkadmError } from '../runtime/base/errors.ts';
import {
  type Asn1,
  bitString,
  bytesOf,
  childrenOf,
  decode,
  encode,
  formatPem,
  hasTag,
  integer,
  OIDS,
  oid,
  oidOf,
  parsePem,
  sequence,
  set,
  tagged,
} from './asn1.ts';
import { parseCertificate } from './certificate.ts';
import {
  extension,
  type KeyUsage,
  parseExtensions,
  parseSubjectAltNames,
  type SubjectAltNames,
  subjectAltNameExtensions,
  usageExtensions,
} from './extensions.ts';
import { issueLeaf, type Validity } from './issue.ts';
import { exportSpki, loadPrivateKey } from './keys.ts';
import { buildName, type DistinguishedName, parseName } from './names.ts';
import { signatureSchemeOf, verifySignature } from './signature.ts';

/** A PKCS#10 request that was read and whose own signature holds. */
export interface CertificateRequest extends SubjectAltNames {
  readonly subject: DistinguishedName;
  /** True with names that are neither DNS names nor IP addresses. */
  readonly hasOtherNames: boolean;
  /** The whole `Name`, and the SubjectAltName value with names of every kind: what a certificate takes over. */
  readonly subjectName: Asn1;
  readonly subjectAltName: Asn1 | undefined;
  /** DER of SubjectPublicKeyInfo. */
  readonly spki: Buffer;
  /** "rsa", "ec", ... */
  readonly keyType: string;
}

/** Builds a PKCS#10 request (RFC 2986) for a private key: PEM text. */
export function createCertificateRequest(options: {
  readonly keyPem: string;
  readonly subject: DistinguishedName;
  readonly subjectAltNames?: SubjectAltNames | undefined;
  /** What the certificate shall be for; a CA may copy it. */
  readonly usages?: readonly KeyUsage[];
}): string {
  const key = loadPrivateKey(options.keyPem);
  const scheme = signatureSchemeOf(key);
  const extensions = [
    ...usageExtensions(options.usages ?? []),
    ...subjectAltNameExtensions(options.subjectAltNames ?? { dnsNames: [], ipAddresses: [] }),
  ];
  const attributes =
    extensions.length === 0 ? [] : [sequence(oid(OIDS.extensionRequest), set(sequence(...extensions)))];
  const info = sequence(
    integer(Uint8Array.of(0)),
    buildName(options.subject),
    decode(exportSpki(key)),
    tagged(0, ...attributes),
  );
  const signature = scheme.sign(encode(info));
  return formatPem('CERTIFICATE REQUEST', encode(sequence(info, scheme.algorithm, bitString(signature))));
}

/**
 * Reads a PKCS#10 request and checks its signature.
 * @throws PKI_CSR_INVALID
 */
export function parseCertificateRequest(pem: string): CertificateRequest {
  const [der] = parsePem('(?:NEW )?CERTIFICATE REQUEST', pem);
  if (!der) throw invalid('the text holds no PEM block of type "CERTIFICATE REQUEST"');
  try {
    return parseDer(der);
  } catch (error) {
    if (error instanceof TkadmError) throw error;
    throw invalid(formatError(error), error);
  }
}

/** True when two requests ask for the same certificate of the same key: their signatures alone may differ. */
export function isSameRequest(pem: string, other: string): boolean {
  const first = readInfo(pem);
  return first !== undefined && readInfo(other)?.equals(first) === true;
}

/** DER of a request's CertificationRequestInfo; undefined when the text holds none. */
function readInfo(pem: string): Buffer | undefined {
  try {
    parseCertificateRequest(pem);
    return encode(childrenOf(decode(parsePem('(?:NEW )?CERTIFICATE REQUEST', pem)[0]!))[0]!);
  } catch (error) {
    if (isTkadmError(error, 'PKI_CSR_INVALID')) return undefined;
    throw error;
  }
}

function parseDer(der: Buffer): CertificateRequest {
  const [info, algorithm, signature] = childrenOf(decode(der));
  const fields = childrenOf(info);
  const spki = encode(fields[2]!);
  const key = createPublicKey({ key: spki, type: 'spki', format: 'der' });
  const isOwn = verifySignature(algorithm, encode(info!), { key, signature: bytesOf(signature).subarray(1) });
  if (!isOwn) throw invalid('its signature does not verify with its own key');
  const attributes = fields.find((field) => hasTag(field, 0));
  const request = (attributes ? childrenOf(attributes) : []).find(
    (attribute) => oidOf(childrenOf(attribute)[0]) === OIDS.extensionRequest,
  );
  const extensions = parseExtensions(request && childrenOf(childrenOf(request)[1])[0]);
  const subjectAltName = extensions.get(OIDS.subjectAltName);
  const names = parseSubjectAltNames(subjectAltName);
  const nameCount = subjectAltName ? childrenOf(subjectAltName).length : 0;
  return {
    subject: parseName(fields[1]),
    subjectName: fields[1]!,
    subjectAltName,
    hasOtherNames: nameCount > names.dnsNames.length + names.ipAddresses.length,
    spki,
    keyType: key.asymmetricKeyType ?? '',
    ...names,
  };
}

/**
 * Signs a request as a CA does: subject and names from the request, usages and validity from the caller, but
 * never beyond the CA's own end.
 * Returns the certificate's PEM text.
 * @throws PKI_CSR_INVALID, PKI_CERTIFICATE_INVALID, PKI_KEY_INVALID
 */
export function signCertificateRequest(
  options: Validity & {
    readonly caCertPem: string;
    readonly caKeyPem: string;
    readonly csrPem: string;
    /** As in `spec.usages` of a CertificateSigningRequest. */
    readonly usages: readonly KeyUsage[];
  },
): string {
  const request = parseCertificateRequest(options.csrPem);
  const { subjectName, subjectAltName } = request;
  // Without a subject the names are all there is: the extension is critical then (RFC 5280 §4.2.1.6).
  const isCritical = childrenOf(subjectName).length === 0;
  const caEndMs = parseCertificate(options.caCertPem).notAfter.getTime();
  return issueLeaf({
    notBefore: options.notBefore,
    notAfter: new Date(Math.min(options.notAfter.getTime(), caEndMs)),
    ca: { certPem: options.caCertPem, keyPem: options.caKeyPem },
    subject: subjectName,
    usages: options.usages,
    alternatives: subjectAltName ? [extension(OIDS.subjectAltName, subjectAltName, isCritical)] : [],
    spki: request.spki,
  });
}

function invalid(state: string, cause?: unknown): TkadmError {
  return new TkadmError('PKI_CSR_INVALID', `Cannot read a certificate request: ${state}`, { cause });
}
