import { TkadmError } from '../runtime/base/errors.ts';
import { CERTIFICATES, type CertificateRow } from './certificates.ts';
import { certificatePath, inspectCertificate } from './inspect.ts';
import type { PkiContext } from './plan.ts';

/** A file that a CA without its key cannot make, and why what is there does not serve. */
export interface ExternalFileProblem {
  readonly path: string;
  /** "it is not there", "it expired at .." */
  readonly state: string;
}

/** True for a certificate authority whose certificate is on the machine and whose key is not. */
export async function isExternalCa(
  row: CertificateRow,
  { host, certificatesDir }: Pick<PkiContext, 'host' | 'certificatesDir'>,
): Promise<boolean> {
  if (row.issuer !== undefined) return false;
  const path = `${certificatesDir}/${row.baseName}`;
  const [certPem, keyPem] = await Promise.all([host.readFile(`${path}.crt`), host.readFile(`${path}.key`)]);
  return certPem !== undefined && keyPem === undefined;
}

/** What is missing or wrong among the certificates and keys that an external CA must have issued; [] when nothing. */
export async function inspectExternalLeaves(
  ca: CertificateRow,
  context: PkiContext,
  { hasLocalEtcd }: { readonly hasLocalEtcd: boolean },
): Promise<readonly ExternalFileProblem[]> {
  const leaves = CERTIFICATES.filter(
    (row: CertificateRow) => row.issuer === ca.name && (hasLocalEtcd || !row.isEtcd),
  );
  const problems = await Promise.all(leaves.map((row) => inspectLeafFiles(row, context)));
  return problems.flat();
}

/** @throws PKI_EXTERNAL_CA naming each file; nothing when there is none. */
export function refuseIncomplete(caPaths: readonly string[], problems: readonly ExternalFileProblem[]): void {
  if (problems.length === 0) return;
  const list = problems.map(({ path, state }) => `"${path}": ${state}`).join(', ');
  throw new TkadmError(
    'PKI_EXTERNAL_CA',
    `Cannot use CA ${caPaths.map((path) => `"${path}"`).join(', ')} without its key, which would make what is wrong: ${list}`,
    {
      hint: 'tkadm certs generate-csr, let the CA sign the requests, and put the certificates there',
      details: { files: problems },
    },
  );
}

async function inspectLeafFiles(
  row: CertificateRow,
  context: PkiContext,
): Promise<readonly ExternalFileProblem[]> {
  const certPath = certificatePath(row, context);
  const keyPath = certPath.replace(/\.crt$/, '.key');
  const texts = await Promise.all([certPath, keyPath].map((path) => context.host.readFile(path)));
  const missing = [certPath, keyPath].filter((_, i) => texts[i] === undefined);
  if (missing.length > 0) return missing.map((path) => ({ path, state: 'it is not there' }));
  const { problems } = await inspectCertificate(row, context);
  return problems.length === 0 ? [] : [{ path: certPath, state: problems.join('; ') }];
}
