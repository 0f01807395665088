import { type Certificate, parseCertificate, verifyChain } from '../../../pki/certificate.ts';
import { CERTIFICATES, type CertificateRow } from '../../../pki/certificates.ts';
import { parseKubeconfig } from '../../../runtime/api/kubeconfig.ts';
import { formatError } from '../../../runtime/base/errors.ts';
import type { Host } from '../../../runtime/base/host.ts';
import { PATHS } from '../../../runtime/base/paths.ts';
import type { CertificateEvidence } from '../evidence.ts';

/** What a kubeconfig of the machine says; its key is not looked at. */
export interface KubeconfigFacts {
  readonly server: string;
  readonly caPem: string;
  /** Its client certificate, or the path of it. */
  readonly certPem?: string | undefined;
  readonly certPath?: string | undefined;
}

/** @throws KUBECONFIG_INVALID, FILE_READ; undefined when there is none. */
export async function readKubeconfig(host: Host, path: string): Promise<KubeconfigFacts | undefined> {
  const text = await host.readFile(path);
  if (text === undefined) return undefined;
  const { clusters, users } = parseKubeconfig(text, path);
  const cluster = clusters?.[0]?.cluster;
  const user = users?.[0]?.user;
  const decode = (data: string | undefined) => data && Buffer.from(data, 'base64').toString('utf8');
  const certPath = user?.['client-certificate'];
  return {
    server: cluster?.server ?? '',
    caPem: decode(cluster?.['certificate-authority-data']) ?? '',
    certPem: decode(user?.['client-certificate-data']) ?? (certPath && (await host.readFile(certPath))),
    certPath,
  };
}

export interface CertificateOptions {
  readonly now: Date;
  readonly kubelet: KubeconfigFacts | undefined;
  readonly isControlPlane: boolean;
}

/** The certificates of a machine, each with what is wrong with it; those that are not there are left out. */
export async function collectCertificates(
  host: Host,
  { now, kubelet, isControlPlane }: CertificateOptions,
): Promise<readonly CertificateEvidence[]> {
  const read = (baseName: string) => host.readFile(`${PATHS.pki}/${baseName}.crt`);
  const rows: readonly CertificateRow[] = isControlPlane
    ? CERTIFICATES
    : CERTIFICATES.filter(({ name }) => name === 'ca');
  const issued = await Promise.all(
    rows.map(async ({ name, baseName, issuer }) => {
      const issuerRow = CERTIFICATES.find((row) => row.name === issuer);
      const pem = await read(baseName);
      if (pem === undefined) return [];
      const caPem = issuerRow && (await read(issuerRow.baseName));
      return [judge({ name, path: `${PATHS.pki}/${baseName}.crt`, pem, caPem, now })];
    }),
  );
  const caPem = await read('ca');
  const own = kubelet?.certPem
    ? [judge({ name: 'node', path: kubelet.certPath ?? KUBELET, pem: kubelet.certPem, caPem, now })]
    : [];
  const trust = kubelet && caPem ? [judgeTrust(kubelet, caPem)] : [];
  return [...issued.flat(), ...own, ...trust.flat()];
}

const KUBELET = `${PATHS.kubernetes}/kubelet.conf`;

interface Judged {
  readonly name: string;
  readonly path: string;
  readonly pem: string;
  readonly caPem: string | undefined;
  readonly now: Date;
}

function judge({ name, path, pem, caPem, now }: Judged): CertificateEvidence {
  try {
    const certificate = parseCertificate(pem);
    const issuer = caPem === undefined ? certificate : parseCertificate(caPem);
    const problems = verifyChain(certificate, issuer, now).filter(
      ({ kind }) => certificate !== issuer || isAboutTime(kind) || kind === 'not-ca',
    );
    return { name, path, problems };
  } catch (error) {
    return { name, path, problems: [{ kind: 'damaged', message: formatError(error) }] };
  }
}

/** Of a CA, and of what an intermediate one issued, no issuer is at hand. */
function isAboutTime(kind: string): boolean {
  return kind === 'expired' || kind === 'not-yet-valid';
}

/** Whether the agent trusts the CA of this machine. */
function judgeTrust({ caPem }: KubeconfigFacts, ownPem: string): readonly CertificateEvidence[] {
  const problem = (message: string) => [
    { name: 'trust', path: KUBELET, problems: [{ kind: 'other-ca', message }] },
  ];
  let trusted: Certificate;
  try {
    trusted = parseCertificate(caPem);
  } catch (error) {
    return problem(formatError(error));
  }
  if (trusted.spki.equals(parseCertificate(ownPem).spki)) return [];
  return problem(`its CA is another one than "${PATHS.pki}/ca.crt"`);
}
