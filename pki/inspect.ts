import { isTkadmError } from '../runtime/base/errors.ts';
import { type Certificate, parseCertificate, verifyChain } from './certificate.ts';
import { buildSubjectAltNames, CERTIFICATES, type CertificateRow } from './certificates.ts';
import type { SubjectAltNames } from './extensions.ts';
import { exportSpki, loadPrivateKey } from './keys.ts';
import type { PkiContext } from './plan.ts';

/** What is on disk of one certificate. `external`: a CA whose key is kept elsewhere. */
export interface CertificateState {
  readonly row: CertificateRow;
  readonly state: 'missing' | 'present' | 'external';
  /** Why the files cannot be used; whoever put them there must act. */
  readonly problems: readonly string[];
  /** Usable, but not to be trusted with time: a certificate whose validity has not begun. */
  readonly warnings: readonly string[];
  /** There are problems, and a new certificate for the same subject ends them all. */
  readonly isRenewable: boolean;
}

/** `kind` is that of a ChainProblem, or what is wrong with the files of one certificate. */
interface Problem {
  readonly kind: string;
  readonly message: string;
}

/** What a renewal with the present configuration puts right. */
const RENEWABLE: readonly string[] = ['expired', 'names'];

type Look = Pick<PkiContext, 'host' | 'certificatesDir' | 'input' | 'now'>;

/** Looks at a certificate's files: there, chained to its CA, with its key, valid now and for every name that it needs. */
export async function inspectCertificate(row: CertificateRow, context: Look): Promise<CertificateState> {
  const { certPem, keyPem } = await readPair(row, context);
  if (certPem === undefined) {
    const problems = keyPem === undefined ? [] : ['there is a key, but no certificate'];
    return { row, state: 'missing', problems, warnings: [], isRenewable: false };
  }
  const found = await inspectPair(row, { certPem, keyPem }, context);
  const problems = found.filter((problem) => problem.kind !== 'not-yet-valid');
  return {
    row,
    state: row.issuer === undefined && keyPem === undefined ? 'external' : 'present',
    problems: problems.map((problem) => problem.message),
    warnings: found.filter((problem) => problem.kind === 'not-yet-valid').map((problem) => problem.message),
    isRenewable:
      row.issuer !== undefined &&
      problems.length > 0 &&
      problems.every((problem) => RENEWABLE.includes(problem.kind)),
  };
}

/** "/etc/kubernetes/pki/etcd/server.crt" */
export function certificatePath(
  row: Pick<CertificateRow, 'baseName'>,
  { certificatesDir }: Pick<PkiContext, 'certificatesDir'>,
): string {
  return `${certificatesDir}/${row.baseName}.crt`;
}

/** Texts of a certificate and its key; undefined for one that is not there. */
export async function readPair(
  row: Pick<CertificateRow, 'baseName'>,
  { host, certificatesDir }: Pick<PkiContext, 'host' | 'certificatesDir'>,
) {
  const path = `${certificatesDir}/${row.baseName}`;
  const [certPem, keyPem] = await Promise.all([host.readFile(`${path}.crt`), host.readFile(`${path}.key`)]);
  return { certPem, keyPem };
}

/** The names of `required` that a certificate is not valid for. */
export function selectMissingNames(
  certificate: SubjectAltNames,
  required: SubjectAltNames,
): readonly string[] {
  const dnsNames = certificate.dnsNames.map((name) => name.toLowerCase());
  return [
    ...required.dnsNames.filter((name) => !dnsNames.includes(name)),
    ...required.ipAddresses.filter((address) => !certificate.ipAddresses.includes(address)),
  ];
}

async function inspectPair(
  row: CertificateRow,
  pair: { readonly certPem: string; readonly keyPem: string | undefined },
  context: Look,
): Promise<readonly Problem[]> {
  try {
    const certificate = parseCertificate(pair.certPem);
    return [
      ...inspectKey(row, certificate, pair.keyPem),
      ...(await inspectChain(certificate, row, context)),
      ...(row.issuer === undefined ? [] : inspectLeaf(row, certificate, context)),
    ];
  } catch (error) {
    if (!isTkadmError(error, 'PKI_CERTIFICATE_INVALID') && !isTkadmError(error, 'PKI_KEY_INVALID'))
      throw error;
    return [{ kind: 'unreadable', message: error.message }];
  }
}

function inspectKey(row: CertificateRow, certificate: Certificate, keyPem: string | undefined): Problem[] {
  if (keyPem === undefined)
    return row.issuer === undefined ? [] : [{ kind: 'key', message: 'its key is missing' }];
  const isOwn = exportSpki(loadPrivateKey(keyPem)).equals(certificate.spki);
  return isOwn ? [] : [{ kind: 'key', message: 'its key does not belong to it' }];
}

function inspectLeaf(row: CertificateRow, certificate: Certificate, { input }: Look): Problem[] {
  const names = selectMissingNames(certificate, buildSubjectAltNames(row, input));
  const usages = row.usages.filter((usage) => !certificate.usages.includes(usage));
  return [
    ...(names.length > 0 ? [{ kind: 'names', message: `it is not valid for ${quoteAll(names)}` }] : []),
    ...(usages.length > 0 ? [{ kind: 'usages', message: `it lacks the usage ${quoteAll(usages)}` }] : []),
  ];
}

async function inspectChain(
  certificate: Certificate,
  row: CertificateRow,
  context: Look,
): Promise<readonly Problem[]> {
  if (row.issuer === undefined) {
    // One that an organisation's root signed is as good as one that signed itself.
    const own = verifyChain(certificate, certificate, context.now);
    return own.filter(({ kind }) => !['issuer', 'signature', 'issuer-expired'].includes(kind));
  }
  const issuer = CERTIFICATES.find((candidate) => candidate.name === row.issuer)!;
  const { certPem } = await readPair(issuer, context);
  if (certPem !== undefined) return verifyChain(certificate, parseCertificate(certPem), context.now);
  return [{ kind: 'issuer', message: `its CA "${certificatePath(issuer, context)}" is not there` }];
}

function quoteAll(names: readonly string[]): string {
  return names.map((name) => `"${name}"`).join(', ');
}
