import { createPublicKey, verify } from 'node:crypto';
import forge from 'node-forge';
import { TkadmError } from '../../base/errors.ts';
import * as der from '../component/der.ts';

/** A PKCS#10 request (RFC 2986) as far as approving and signing need it. */
export interface ParsedRequest {
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly subjectAltNames: readonly { readonly type: 'email' | 'dns' | 'uri' | 'ip' | 'other' }[];
  /** DER values, to be put into the certificate as they are. */
  readonly subject: der.Asn1;
  readonly publicKey: der.Asn1;
  /** Content of the subjectAltName extension. */
  readonly subjectAltNameDer: Buffer | undefined;
}

const OID_COMMON_NAME = '2.5.4.3';
const OID_ORGANIZATION = '2.5.4.10';
const OID_EXTENSION_REQUEST = '1.2.840.113549.1.9.14';
export const OID_SUBJECT_ALT_NAME = '2.5.29.17';

/** Hash of each signature algorithm that requests come with; null: the key's own (Ed25519). */
const SIGNATURE_HASHES: Readonly<Record<string, string | null>> = {
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.3.101.112': null,
};

/** GeneralName tags (RFC 5280 §4.2.1.6). */
const GENERAL_NAMES: Readonly<Record<number, ParsedRequest['subjectAltNames'][number]['type']>> = {
  1: 'email',
  2: 'dns',
  6: 'uri',
  7: 'ip',
};

/**
 * Parses a PEM request and verifies that its sender has the key.
 * @throws CSR_INVALID
 */
export function parseCertificateRequest(pem: string): ParsedRequest {
  const bytes = der.fromPem('CERTIFICATE REQUEST', pem);
  if (!bytes) throw invalid('it holds no CERTIFICATE REQUEST block');
  let parsed: ParsedRequest;
  let isSigned: boolean;
  try {
    const [info, algorithm, signature] = der.partsOf(der.decode(bytes));
    parsed = parseInfo(info!);
    isSigned = verifySignature(info!, algorithm!, signature!, parsed.publicKey);
  } catch (error) {
    throw invalid((error as Error).message, error);
  }
  if (!isSigned) throw invalid('its signature does not match its key');
  return parsed;
}

/** The text of an OBJECT IDENTIFIER. */
export function oidOf(value: der.Asn1): string {
  return forge.asn1.derToOid(value.value as string);
}

function parseInfo(info: der.Asn1): ParsedRequest {
  const [, subject, publicKey, attributes] = der.partsOf(info);
  const names = der.partsOf(subject!).flatMap((set) => der.partsOf(set));
  const valuesOf = (type: string) =>
    names
      .map((pair) => der.partsOf(pair))
      .filter(([key]) => oidOf(key!) === type)
      .map(([, value]) => der.bytesOf(value!).toString('utf8'));
  const subjectAltNameDer = attributes && findSubjectAltNames(attributes);
  const entries = subjectAltNameDer ? der.partsOf(der.decode(subjectAltNameDer)) : [];
  return {
    commonName: valuesOf(OID_COMMON_NAME)[0] ?? '',
    organizations: valuesOf(OID_ORGANIZATION),
    subjectAltNames: entries.map((entry) => ({ type: GENERAL_NAMES[entry.type as number] ?? 'other' })),
    subject: subject!,
    publicKey: publicKey!,
    subjectAltNameDer,
  };
}

function findSubjectAltNames(attributes: der.Asn1): Buffer | undefined {
  for (const attribute of der.partsOf(attributes)) {
    const [type, values] = der.partsOf(attribute);
    if (oidOf(type!) !== OID_EXTENSION_REQUEST) continue;
    for (const extension of der.partsOf(der.partsOf(values!)[0]!)) {
      const parts = der.partsOf(extension);
      if (oidOf(parts[0]!) === OID_SUBJECT_ALT_NAME) return der.bytesOf(parts.at(-1)!);
    }
  }
  return undefined;
}

function verifySignature(
  info: der.Asn1,
  algorithm: der.Asn1,
  signature: der.Asn1,
  publicKey: der.Asn1,
): boolean {
  const oid = oidOf(der.partsOf(algorithm)[0]!);
  const hash = SIGNATURE_HASHES[oid];
  if (hash === undefined) throw new Error(`signature algorithm ${oid} is not supported`);
  const key = createPublicKey({ key: der.encode(publicKey), format: 'der', type: 'spki' });
  return verify(hash, der.encode(info), key, der.bitsOf(signature));
}

function invalid(state: string, cause?: unknown): TkadmError {
  return new TkadmError('CSR_INVALID', `Cannot use certificate request: ${state}`, { cause });
}
