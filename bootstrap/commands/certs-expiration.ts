import { CERTIFICATES, type CertificateRow } from '../../pki/certificates.ts';
import { readNotAfter } from '../../pki/expiry.ts';
import { parseKubeconfig } from '../../runtime/api/kubeconfig.ts';
import type { Host } from '../../runtime/base/host.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { formatTable } from '../render/table.ts';
import { type CertsConfig, type CertsOptions, loadCertsConfig } from './certs-config.ts';
import { listTargets } from './certs-targets.ts';
import type { CliContext } from './context.ts';
import { writeData } from './output.ts';

/** A row of CertificateExpirationInfo, output.kubeadm.k8s.io/v1alpha3. */
export interface ExpirationRow {
  readonly name: string;
  /** RFC 3339; absent when the file is missing. */
  readonly expirationDate?: string;
  /** Seconds; negative when it has expired. */
  readonly residualTime: number;
  readonly externallyManaged: boolean;
  readonly caName?: string;
  readonly missing: boolean;
}

/** `tkadm certs check-expiration` */
export async function runCheckExpiration(
  context: CliContext,
  options: CertsOptions & { readonly output: string },
): Promise<void> {
  const host = createLocalHost();
  const config = await loadCertsConfig(context, host, options);
  const { certificates, authorities } = await readExpirations(host, config, context.now());
  const data = {
    apiVersion: 'output.kubeadm.k8s.io/v1alpha3',
    kind: 'CertificateExpirationInfo',
    certificates,
    certificateAuthorities: authorities,
  };
  writeData(context, options.output, data, formatExpirations(certificates, authorities));
}

/** When everything ends that was issued on this machine: the leaves, the kubeconfigs with the agent's, the CAs. */
export async function readExpirations(host: Host, config: CertsConfig, now: Date) {
  const { certificatesDir, kubernetesDir } = config;
  const keyed = async (row: CertificateRow) =>
    (await host.readFile(`${certificatesDir}/${row.baseName}.key`)) !== undefined;
  const cas = CERTIFICATES.filter((row: CertificateRow) => row.issuer === undefined);
  const withKey = new Map(
    await Promise.all(cas.map(async (row) => [row.name as string, await keyed(row)] as const)),
  );
  const build = (name: string, pem: string | undefined, caName?: string): ExpirationRow => ({
    name,
    ...describeEnd(pem, now),
    externallyManaged: pem !== undefined && withKey.get(caName ?? name) === false,
    ...(caName ? { caName } : {}),
  });
  const targets = await listTargets(host, config);
  const certificates = await Promise.all(
    targets.map(async (target) => {
      const text = await host.readFile(target.path);
      const pem = 'kubeconfig' in target ? await clientCertificateOf(host, target.path, text) : text;
      return build(target.name, pem, target.caName);
    }),
  );
  const kubeletPath = `${kubernetesDir}/kubelet.conf`;
  const kubelet = await clientCertificateOf(host, kubeletPath, await host.readFile(kubeletPath));
  const authorities = await Promise.all(
    cas.map(async (row) => build(row.name, await host.readFile(`${certificatesDir}/${row.baseName}.crt`))),
  );
  const own = build('kubelet.conf', kubelet, 'ca');
  // A worker has the agent's certificate and the CA's, and misses nothing.
  if (!own.missing && certificates.every((row) => row.missing)) {
    return { certificates: [own], authorities: authorities.filter((row) => !row.missing) };
  }
  const usesEtcd = targets.some(({ name }) => name === 'etcd-server');
  return {
    certificates: [...certificates, own].sort((a, b) => (a.name < b.name ? -1 : 1)),
    authorities: authorities.filter(({ name }) => usesEtcd || name !== 'etcd-ca'),
  };
}

/** Two tables in kubeadm's columns. */
export function formatExpirations(
  certificates: readonly ExpirationRow[],
  authorities: readonly ExpirationRow[],
): string {
  const cells = (row: ExpirationRow, caName: readonly string[]) =>
    row.missing
      ? [`!MISSING! ${row.name}`, '', '', ...caName.map(() => ''), '']
      : [
          row.name,
          formatDate(new Date(row.expirationDate!)),
          formatResidual(row.residualTime),
          ...caName,
          row.externallyManaged ? 'yes' : 'no',
        ];
  const leaves = formatTable([
    ['CERTIFICATE', 'EXPIRES', 'RESIDUAL TIME', 'CERTIFICATE AUTHORITY', 'EXTERNALLY MANAGED'],
    ...certificates.map((row) => cells(row, [row.caName ?? ''])),
  ]);
  const cas = formatTable([
    ['CERTIFICATE AUTHORITY', 'EXPIRES', 'RESIDUAL TIME', 'EXTERNALLY MANAGED'],
    ...authorities.map((row) => cells(row, [])),
  ]);
  return `${leaves}\n${cas}`;
}

/** "364d", "9y", "5h", "expired" */
export function formatResidual(seconds: number): string {
  if (seconds < 0) return 'expired';
  const [minutes, hours, days] = [60, 3600, 86_400].map((unit) => Math.floor(seconds / unit));
  if (days! >= 365) return `${Math.floor(days! / 365)}y`;
  if (days! > 0) return `${days}d`;
  if (hours! > 0) return `${hours}h`;
  return minutes! > 0 ? `${minutes}m` : `${Math.floor(seconds)}s`;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;

/** "Dec 30, 2026 23:36 UTC" */
function formatDate(date: Date): string {
  const pad = (value: number) => String(value).padStart(2, '0');
  const day = `${MONTHS[date.getUTCMonth()]} ${pad(date.getUTCDate())}, ${date.getUTCFullYear()}`;
  return `${day} ${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())} UTC`;
}

function describeEnd(pem: string | undefined, now: Date) {
  if (pem === undefined) return { residualTime: 0, missing: true };
  const notAfter = readNotAfter(pem);
  return {
    expirationDate: notAfter.toISOString().replace(/\.\d+Z$/, 'Z'),
    residualTime: Math.floor((notAfter.getTime() - now.getTime()) / 1000),
    missing: false,
  };
}

/** The client certificate of a kubeconfig: embedded, or in the file that it names. */
async function clientCertificateOf(
  host: Host,
  path: string,
  text: string | undefined,
): Promise<string | undefined> {
  const user = text === undefined ? undefined : parseKubeconfig(text, path).users?.[0]?.user;
  const data = user?.['client-certificate-data'];
  if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
  const file = user?.['client-certificate'];
  return file === undefined ? undefined : host.readFile(file);
}
