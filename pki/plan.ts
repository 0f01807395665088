import { TkadmError } from '../runtime/base/errors.ts';
import { parseCertificate } from './certificate.ts';
import {
  buildCertificateSpec,
  buildSubjectAltNames,
  CERTIFICATES,
  type CertificateInput,
  type CertificateRow,
  findCertificate,
} from './certificates.ts';
import { type CertificateState, certificatePath, inspectCertificate, readPair } from './inspect.ts';
import { createCa, type IssuedCertificate, issueCertificate, loadCa, validityFrom } from './issue.ts';
import { derivePublicKeyPem, generateKeyPair, type KeyAlgorithm } from './keys.ts';
import type { PrimeSearches } from './rsa.ts';

/** What this folder needs of a machine. */
export interface FileReader {
  /** The file's text, or undefined when it is not there. */
  readFile(path: string): Promise<string | undefined>;
}

/** A file to write, as an action of the workflow. */
export interface PkiFile {
  readonly kind: 'write-file';
  readonly path: string;
  readonly mode: number;
  readonly content: string;
  readonly secret?: boolean;
}

export interface PkiContext {
  readonly host: FileReader;
  /** "/etc/kubernetes/pki" */
  readonly certificatesDir: string;
  readonly input: CertificateInput;
  readonly algorithm: KeyAlgorithm;
  /** Shared by the plans that run at the same time. */
  readonly searches?: PrimeSearches | undefined;
  readonly certificateValidityMs: number;
  readonly caCertificateValidityMs: number;
  readonly now: Date;
  /** Gets what does not stop the plan but should be known. */
  readonly warn?: ((message: string) => void) | undefined;
}

/**
 * The rows whose files are to be made; those that are there are kept.
 * @throws PKI_CERTIFICATE_STALE naming every file that is there and cannot serve this configuration.
 */
export async function selectMissing(
  context: PkiContext,
  rows: readonly CertificateRow[] = CERTIFICATES,
): Promise<readonly CertificateRow[]> {
  const states = await Promise.all(rows.map((row) => inspectCertificate(row, context)));
  const stale = states.filter((state) => state.problems.length > 0);
  for (const { row, warnings } of states) {
    for (const warning of warnings) context.warn?.(`"${certificatePath(row, context)}": ${warning}`);
  }
  if (stale.length > 0) throw staleError(stale, context);
  return states.filter((state) => state.state === 'missing').map((state) => state.row);
}

function staleError(stale: readonly CertificateState[], context: PkiContext): TkadmError {
  const lines = stale.map(
    ({ row, problems }) => `"${certificatePath(row, context)}": ${problems.join('; ')}`,
  );
  const files = stale.map(({ row }) => `${context.certificatesDir}/${row.baseName}.*`);
  const hint = stale.every((state) => state.isRenewable)
    ? `${stale.map(({ row }) => `tkadm certs renew ${row.name} --config FILE`).join(' && ')}, with this configuration`
    : `Move the files away so that they are made again: mv ${files.join(' ')} /root/`;
  return new TkadmError('PKI_CERTIFICATE_STALE', `Cannot use existing certificates: ${lines.join(', ')}`, {
    hint,
    details: { certificates: stale.map(({ row, problems }) => ({ name: row.name, problems })) },
  });
}

/**
 * The files of one certificate; [] when they are there and right. A leaf needs its CA on disk.
 * @throws PKI_CERTIFICATE_STALE, PKI_KEY_MISSING for a leaf of an external CA, PKI_CERTIFICATE_INVALID.
 */
export async function planCertificate(row: CertificateRow, context: PkiContext): Promise<readonly PkiFile[]> {
  const [missing] = await selectMissing(context, [row]);
  if (!missing) return [];
  const pair = await generatePair(row, context);
  const path = `${context.certificatesDir}/${row.baseName}`;
  return [
    { kind: 'write-file', path: `${path}.key`, mode: 0o600, content: pair.keyPem, secret: true },
    { kind: 'write-file', path: `${path}.crt`, mode: 0o644, content: pair.certPem },
  ];
}

/**
 * The files of the key pair that signs service account tokens; a lost public half is derived again.
 * @throws PKI_KEY_MISSING when only the public half is there, PKI_CERTIFICATE_STALE when the halves differ.
 */
export async function planServiceAccountKeys(
  context: Pick<PkiContext, 'host' | 'certificatesDir' | 'algorithm' | 'searches'>,
): Promise<readonly PkiFile[]> {
  const keyPath = `${context.certificatesDir}/sa.key`;
  const publicPath = `${context.certificatesDir}/sa.pub`;
  const [keyPem, publicPem] = await Promise.all([keyPath, publicPath].map((p) => context.host.readFile(p)));
  const publicFile = (content: string): PkiFile => ({
    kind: 'write-file',
    path: publicPath,
    mode: 0o600,
    content,
  });
  if (keyPem === undefined && publicPem === undefined) {
    const { privateKeyPem, publicKeyPem } = await generateKeyPair(context.algorithm, context.searches);
    return [
      { kind: 'write-file', path: keyPath, mode: 0o600, content: privateKeyPem, secret: true },
      publicFile(publicKeyPem),
    ];
  }
  if (keyPem === undefined) {
    throw new TkadmError('PKI_KEY_MISSING', `Cannot sign service account tokens: no key at "${keyPath}"`, {
      hint: `Restore the key that belongs to "${publicPath}", or remove that file`,
    });
  }
  const derived = derivePublicKeyPem(keyPem);
  if (publicPem === undefined) return [publicFile(derived)];
  if (publicPem.trim() === derived.trim()) return [];
  throw new TkadmError(
    'PKI_CERTIFICATE_STALE',
    `Cannot use "${publicPath}": it is not the public half of "${keyPath}"`,
  );
}

/**
 * Reads a CA of the table that signs: both halves.
 * @throws PKI_KEY_MISSING when a half is not on disk, PKI_CERTIFICATE_INVALID when they do not fit.
 */
export async function readCa(
  name: 'ca' | 'front-proxy-ca' | 'etcd-ca',
  context: Pick<PkiContext, 'host' | 'certificatesDir'>,
): Promise<IssuedCertificate> {
  const row = findCertificate(name);
  const { certPem, keyPem } = await readPair(row, context);
  if (certPem === undefined || keyPem === undefined) {
    const path = `${context.certificatesDir}/${row.baseName}.${certPem === undefined ? 'crt' : 'key'}`;
    throw new TkadmError('PKI_KEY_MISSING', `Cannot sign with CA "${name}": nothing at "${path}"`, {
      hint: 'Restore the file, or issue the missing certificates with the external CA',
    });
  }
  const ca = { certPem, keyPem };
  loadCa(ca);
  return ca;
}

async function generatePair(row: CertificateRow, context: PkiContext): Promise<IssuedCertificate> {
  const { algorithm, input, now, searches } = context;
  if (row.issuer === undefined) {
    const validity = validityFrom(now, context.caCertificateValidityMs);
    return createCa({ commonName: row.commonName, algorithm, searches, ...validity });
  }
  const ca = await readCa(row.issuer as 'ca', context);
  const validity = validityFrom(now, context.certificateValidityMs);
  const caEnd = parseCertificate(ca.certPem).notAfter;
  if (validity.notAfter > caEnd) {
    context.warn?.(`certificate "${row.name}" outlives its CA, which ends at ${caEnd.toISOString()}`);
  }
  return issueCertificate({
    spec: buildCertificateSpec(row, input),
    subjectAltNames: buildSubjectAltNames(row, input),
    ca,
    algorithm,
    searches,
    ...validity,
  });
}
