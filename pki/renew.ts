import { type Certificate, parseCertificate } from './certificate.ts';
import { buildSubjectAltNames, type CertificateInput, type CertificateRow } from './certificates.ts';
import type { SubjectAltNames } from './extensions.ts';
import { selectMissingNames } from './inspect.ts';
import { type CaPair, type IssuedCertificate, issueCertificate, validityFrom } from './issue.ts';
import type { KeyAlgorithm } from './keys.ts';
import { type PkiContext, type PkiFile, readCa } from './plan.ts';

/**
 * Issues a certificate like an existing one, for a new key: its subject, names and usages stay, algorithm and
 * validity are the caller's.
 * @throws PKI_KEY_INVALID, PKI_CERTIFICATE_INVALID
 */
export function reissueCertificate(
  certificate: Pick<Certificate, 'subject' | 'usages' | 'dnsNames' | 'ipAddresses'>,
  options: {
    readonly ca: CaPair;
    readonly algorithm: KeyAlgorithm;
    readonly now: Date;
    readonly certificateValidityMs: number;
  },
): Promise<IssuedCertificate> {
  return issueCertificate({
    spec: {
      ...certificate.subject,
      usages: certificate.usages.filter((usage) => usage.endsWith(' auth')),
    },
    subjectAltNames: certificate,
    ca: options.ca,
    algorithm: options.algorithm,
    ...validityFrom(options.now, options.certificateValidityMs),
  });
}

/**
 * New files for a leaf of the table that is there; [] when it is not. With `input` it gets the names that this
 * configuration asks for besides those that it has.
 * @throws PKI_KEY_MISSING when the CA's key is not on this machine.
 */
export async function planRenewal(
  row: CertificateRow,
  context: Omit<PkiContext, 'input' | 'caCertificateValidityMs'> & {
    readonly input?: CertificateInput | undefined;
  },
): Promise<readonly PkiFile[]> {
  const path = `${context.certificatesDir}/${row.baseName}`;
  const text = await context.host.readFile(`${path}.crt`);
  if (text === undefined || row.issuer === undefined) return [];
  const ca = await readCa(row.issuer as 'ca', context);
  const old = parseCertificate(text);
  const names = context.input ? mergeNames(old, buildSubjectAltNames(row, context.input)) : old;
  const pair = await reissueCertificate({ ...old, ...names }, { ...context, ca });
  return [
    { kind: 'write-file', path: `${path}.key`, mode: 0o600, content: pair.keyPem, secret: true },
    { kind: 'write-file', path: `${path}.crt`, mode: 0o644, content: pair.certPem },
  ];
}

function mergeNames(old: SubjectAltNames, required: SubjectAltNames): SubjectAltNames {
  const missing = selectMissingNames(old, required);
  const isMissing = (name: string) => missing.includes(name);
  return {
    dnsNames: [...old.dnsNames, ...required.dnsNames.filter(isMissing)].sort(),
    ipAddresses: [...old.ipAddresses, ...required.ipAddresses.filter(isMissing)],
  };
}
