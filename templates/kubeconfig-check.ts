import { parseCertificate, verifyChain } from '../pki/certificate.ts';
import { exportSpki, loadPrivateKey } from '../pki/keys.ts';
import type { FileReader } from '../pki/plan.ts';
import { type Kubeconfig, parseKubeconfig } from '../runtime/api/kubeconfig.ts';
import { isTkadmError, TkadmError } from '../runtime/base/errors.ts';
import type { KubeconfigRow } from './kubeconfig.ts';

/** Why a kubeconfig that is there cannot serve. */
export interface KubeconfigProblem {
  /** `expired` is the one that a renewal puts right. */
  readonly kind: 'ca' | 'certificate' | 'expired';
  readonly message: string;
}

interface CheckContext {
  readonly host: FileReader;
  /** Of the file, for messages. */
  readonly path: string;
  readonly ca: { readonly certPem: string };
  readonly now: Date;
}

/**
 * Looks at a kubeconfig that is there: of this cluster's CA, with a client certificate that the CA issued, that
 * is valid, and whose key it holds. A certificate in a file of its own, which the agent rotates, is not looked at.
 * @throws KUBECONFIG_INVALID
 */
export async function inspectKubeconfig(
  text: string,
  context: CheckContext,
): Promise<readonly KubeconfigProblem[]> {
  const config = parseKubeconfig(text, context.path);
  if (!(await hasCa(config, context))) return [{ kind: 'ca', message: "its CA is not the cluster's" }];
  try {
    return inspectClient(config, context);
  } catch (error) {
    if (!isTkadmError(error)) throw error;
    return [{ kind: 'certificate', message: error.message }];
  }
}

/** Checks a kubeconfig that is kept. @throws PKI_CERTIFICATE_STALE when it cannot serve. */
export async function checkKubeconfig(
  row: Pick<KubeconfigRow, 'name' | 'fileName'>,
  text: string,
  context: CheckContext,
): Promise<void> {
  const problems = await inspectKubeconfig(text, context);
  if (problems.length === 0) return;
  const { path } = context;
  const isRenewable = row.name !== 'kubelet' && problems.every((problem) => problem.kind === 'expired');
  const state = problems.map((problem) => problem.message).join('; ');
  throw new TkadmError('PKI_CERTIFICATE_STALE', `Cannot use existing "${path}": ${state}`, {
    hint: isRenewable
      ? `tkadm certs renew ${row.fileName}`
      : `Move it away so that it is made again: mv ${path} /root/`,
  });
}

async function hasCa(config: Kubeconfig, { host, ca }: CheckContext): Promise<boolean> {
  const { 'certificate-authority-data': data, 'certificate-authority': file } =
    config.clusters?.[0]?.cluster ?? {};
  const pem = data ? fromBase64(data) : file?.startsWith('/') ? await host.readFile(file) : undefined;
  return pem !== undefined && parseCertificate(pem).der.equals(parseCertificate(ca.certPem).der);
}

function inspectClient(config: Kubeconfig, { ca, now }: CheckContext): readonly KubeconfigProblem[] {
  const { 'client-certificate-data': certData, 'client-key-data': keyData } = config.users?.[0]?.user ?? {};
  if (certData === undefined) {
    const isPartial = keyData !== undefined;
    return isPartial ? [{ kind: 'certificate', message: 'it holds a key and no client certificate' }] : [];
  }
  const certificate = parseCertificate(fromBase64(certData));
  const isOwn =
    keyData === undefined || exportSpki(loadPrivateKey(fromBase64(keyData))).equals(certificate.spki);
  return [
    ...(isOwn
      ? []
      : [{ kind: 'certificate' as const, message: 'its key does not belong to its certificate' }]),
    ...verifyChain(certificate, parseCertificate(ca.certPem), now)
      .filter(({ kind }) => kind !== 'not-yet-valid')
      .map(({ kind, message }) => ({
        kind: kind === 'expired' ? kind : ('certificate' as const),
        message: `its client certificate: ${message}`,
      })),
  ];
}

function fromBase64(data: string): string {
  return Buffer.from(data, 'base64').toString('utf8');
}
