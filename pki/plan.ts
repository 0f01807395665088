import { TkadmError } from '../runtime/base/errors.ts';
import { type Certificate, parseCertificate, verifyChain } from './certificate.ts';
import {
  buildCertificateSpec,
  buildSubjectAltNames,
  CERTIFICATES,
  type CertificateInput,
  type CertificateRow,
} from './certificates.ts';
import type { SubjectAltNames } from './extensions.ts';
import { createCa, type IssuedCertificate, issueCertificate, loadCa, validityFrom } from './issue.ts';
import {
  derivePublicKeyPem,
  exportSpki,
  generateKeyPair,
  type KeyAlgorithm,
  loadPrivateKey,
} from './keys.ts';

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
  readonly certificateValidityMs: number;
  readonly caCertificateValidityMs: number;
  readonly now: Date;
}

/** What is on disk of one certificate. `external`: a CA whose key is kept elsewhere. */
export interface CertificateState {
  readonly row: CertificateRow;
  readonly state: 'missing' | 'present' | 'external';
  /** Why the files cannot be used; whoever put them there must act. */
  readonly problems: readonly string[];
  /** Usable, but for how long: an expired or not yet valid certificate. */
  readonly warnings: readonly string[];
}

const TIME_PROBLEMS: readonly string[] = ['not-yet-valid', 'expired', 'issuer-expired'];

/** Looks at a certificate's files: there, chained to its CA, with its key, valid for every name that it needs. */
export async function inspectCertificate(
  row: CertificateRow,
  context: PkiContext,
): Promise<CertificateState> {
  const { certPem, keyPem } = await readPair(row, context);
  const result = (
    state: CertificateState['state'],
    problems: readonly string[],
    warnings: readonly string[] = [],
  ) => ({ row, state, problems, warnings });
  if (certPem === undefined) {
    return result('missing', keyPem === undefined ? [] : ['there is a key, but no certificate']);
  }
  const certificate = parseCertificate(certPem);
  const keyProblems = keyPem === undefined ? [] : checkKey(certificate, keyPem);
  const chain = await inspectChain(certificate, row, context);
  const problems = chain.filter((problem) => !TIME_PROBLEMS.includes(problem.kind)).map((p) => p.message);
  const warnings = chain.filter((problem) => TIME_PROBLEMS.includes(problem.kind)).map((p) => p.message);
  if (row.issuer === undefined) {
    return result(keyPem === undefined ? 'external' : 'present', [...keyProblems, ...problems], warnings);
  }
  const missingNames = formatMissingNames(certificate, buildSubjectAltNames(row, context.input));
  return result(
    'present',
    [
      ...(keyPem === undefined ? ['its key is missing'] : keyProblems),
      ...problems,
      ...(missingNames ? [`it is not valid for ${missingNames}`] : []),
    ],
    warnings,
  );
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
  if (stale.length === 0)
    return states.filter((state) => state.state === 'missing').map((state) => state.row);
  const lines = stale.map(
    ({ row, problems }) => `"${certificatePath(row, context)}": ${problems.join('; ')}`,
  );
  throw new TkadmError('PKI_CERTIFICATE_STALE', `Cannot use existing certificates: ${lines.join(', ')}`, {
    hint: `Move the files away so that they are made again: mv ${stale
      .map(({ row }) => `${context.certificatesDir}/${row.baseName}.*`)
      .join(' ')} /root/`,
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
  context: Pick<PkiContext, 'host' | 'certificatesDir' | 'algorithm'>,
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
    const { privateKeyPem, publicKeyPem } = await generateKeyPair(context.algorithm);
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
  const row = CERTIFICATES.find((candidate) => candidate.name === name)!;
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

/** The names of `required` that a certificate is not valid for, `"a", "10.0.0.1"`; undefined when none. */
function formatMissingNames(certificate: SubjectAltNames, required: SubjectAltNames): string | undefined {
  const missing = [
    ...required.dnsNames.filter((name) => !certificate.dnsNames.includes(name)),
    ...required.ipAddresses.filter((address) => !certificate.ipAddresses.includes(address)),
  ];
  return missing.length === 0 ? undefined : missing.map((name) => `"${name}"`).join(', ');
}

async function generatePair(row: CertificateRow, context: PkiContext): Promise<IssuedCertificate> {
  const { algorithm, input, now } = context;
  if (row.issuer === undefined) {
    const validity = validityFrom(now, context.caCertificateValidityMs);
    return createCa({ commonName: row.commonName, algorithm, ...validity });
  }
  return issueCertificate({
    spec: buildCertificateSpec(row, input),
    subjectAltNames: buildSubjectAltNames(row, input),
    ca: await readCa(row.issuer as 'ca', context),
    algorithm,
    ...validityFrom(now, context.certificateValidityMs),
  });
}

function certificatePath(row: CertificateRow, { certificatesDir }: PkiContext): string {
  return `${certificatesDir}/${row.baseName}.crt`;
}

async function readPair(
  row: CertificateRow,
  { host, certificatesDir }: Pick<PkiContext, 'host' | 'certificatesDir'>,
) {
  const path = `${certificatesDir}/${row.baseName}`;
  const [certPem, keyPem] = await Promise.all([host.readFile(`${path}.crt`), host.readFile(`${path}.key`)]);
  return { certPem, keyPem };
}

function checkKey(certificate: Certificate, keyPem: string): readonly string[] {
  const isOwn = exportSpki(loadPrivateKey(keyPem)).equals(certificate.spki);
  return isOwn ? [] : ['its key does not belong to it'];
}

async function inspectChain(certificate: Certificate, row: CertificateRow, context: PkiContext) {
  if (row.issuer === undefined) return verifyChain(certificate, certificate, context.now);
  const issuer = CERTIFICATES.find((candidate) => candidate.name === row.issuer)!;
  const { certPem } = await readPair(issuer, context);
  if (certPem === undefined) {
    return [
      { kind: 'issuer' as const, message: `its CA "${certificatePath(issuer, context)}" is not there` },
    ];
  }
  return verifyChain(certificate, parseCertificate(certPem), context.now);
}
