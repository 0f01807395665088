import { createHash, X509Certificate } from 'node:crypto';
import { CREDENTIAL_ID_KEY } from './names.ts';
import type { UserInfo } from './types.ts';

const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const ANY_EXTENDED_KEY_USAGE = '2.5.29.37.0';
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
const CACHE_SIZE = 2048;

/** A client certificate that the CA vouches for; only its validity has to be looked at again. */
interface VerifiedCertificate {
  readonly commonName: string;
  readonly organizations: readonly string[];
  readonly fingerprint: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Judges client certificates against one CA bundle. */
export interface CertificateVerifier {
  /** @throws Error that says why the CA does not vouch for this certificate now */
  verify(der: Buffer): VerifiedCertificate;
}

/**
 * A verifier for client certificates: issuer and signature by a CA of the bundle, validity, and clientAuth among
 * the extended key usages (RFC 5280 §4.2.1.12). Certificates are remembered by their SHA-256 fingerprint.
 * The CA must have issued the certificate itself: intermediate certificates are not followed.
 */
export function createCertificateVerifier(caPem: string, now: () => Date): CertificateVerifier {
  const authorities = (caPem.match(PEM_CERTIFICATE) ?? []).map((pem) => new X509Certificate(pem));
  const verified = new Map<string, VerifiedCertificate>();
  return {
    verify(der) {
      const fingerprint = createHash('sha256').update(der).digest('hex');
      let found = verified.get(fingerprint);
      if (!found) {
        found = verifyChain(der, fingerprint, authorities);
        if (verified.size >= CACHE_SIZE) verified.clear();
        verified.set(fingerprint, found);
      }
      const nowMs = now().getTime();
      if (nowMs < found.notBeforeMs || nowMs > found.notAfterMs) {
        throw new Error('x509: certificate has expired or is not yet valid');
      }
      return found;
    },
  };
}

/** CN → name, O → groups; undefined when the certificate has no common name. */
export function certificateUser(certificate: VerifiedCertificate): UserInfo | undefined {
  if (certificate.commonName === '') return undefined;
  return {
    name: certificate.commonName,
    groups: certificate.organizations,
    extra: { [CREDENTIAL_ID_KEY]: [`X509SHA256=${certificate.fingerprint}`] },
  };
}

function verifyChain(
  der: Buffer,
  fingerprint: string,
  authorities: readonly X509Certificate[],
): VerifiedCertificate {
  const certificate = new X509Certificate(der);
  const issuer = authorities.find(
    (authority) =>
      authority.ca && certificate.checkIssued(authority) && certificate.verify(authority.publicKey),
  );
  if (!issuer) throw new Error('x509: certificate signed by unknown authority');
  const usages: readonly string[] | undefined = certificate.keyUsage;
  if (usages && !usages.includes(CLIENT_AUTH) && !usages.includes(ANY_EXTENDED_KEY_USAGE)) {
    throw new Error('x509: certificate specifies an incompatible key usage');
  }
  const subject: Partial<Record<string, string | string[]>> = certificate.toLegacyObject().subject ?? {};
  return {
    commonName: asList(subject['CN']).at(-1) ?? '',
    organizations: asList(subject['O']),
    fingerprint,
    notBeforeMs: Math.max(Date.parse(certificate.validFrom), Date.parse(issuer.validFrom)),
    notAfterMs: Math.min(Date.parse(certificate.validTo), Date.parse(issuer.validTo)),
  };
}

function asList(value: string | string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}
