import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';

/** How long before its end a certificate is warned of. */
export const EXPIRY_WARNING_MS = 30 * 24 * 3600_000;

const DAY_MS = 24 * 3600_000;

/** A certificate of this machine and its end. */
export interface CertificateEnd {
  /** "apiserver", "etcd/ca", "admin.conf" */
  readonly name: string;
  readonly notAfter: Date;
}

/** Who can make a new one: `certs renew`, the agent while it runs, or, for a CA, nobody in place. */
const RENEWERS = [
  { pattern: /^(.*\/|.*-)?ca$/, advice: 'a CA is not renewed in place: make a new one in time' },
  { pattern: /^kubelet/, advice: 'the agent renews its own while it runs: tkadm service status' },
  { pattern: /./, advice: 'tkadm certs renew all' },
] as const;

/** One line that names what ends within 30 days, or has ended, and what to do; undefined when nothing does. */
export function formatExpiryWarning(ends: readonly CertificateEnd[], now: Date): string | undefined {
  const soon = ends
    .filter(({ notAfter }) => notAfter.getTime() - now.getTime() < EXPIRY_WARNING_MS)
    .sort((a, b) => a.notAfter.getTime() - b.notAfter.getTime());
  if (soon.length === 0) return undefined;
  const advice = RENEWERS.map((row) => row.advice).filter((text) =>
    soon.some(({ name }) => RENEWERS.find((row) => row.pattern.test(name))!.advice === text),
  );
  const list = soon.map(({ name, notAfter }) => `"${name}" ${formatEnd(notAfter, now)}`).join(', ');
  return `certificates end: ${list}; ${advice.reverse().join('; ')}`;
}

/**
 * Reads the ends of all certificates below a directory of kubeadm's layout, and of the agent's own, without
 * waiting and without a word about what cannot be read: this goes before every command.
 */
export function readCertificateEnds(kubernetesDir: string, kubeletPkiDir: string): readonly CertificateEnd[] {
  const pki = listNames(`${kubernetesDir}/pki`, '.crt');
  if (pki.length === 0 && listNames(kubernetesDir, '.conf').length === 0) return [];
  return [
    ...pki.flatMap((name) => readEnd(trim(name), `${kubernetesDir}/pki/${name}`, readCertificate)),
    ...listNames(`${kubernetesDir}/pki/etcd`, '.crt').flatMap((name) =>
      readEnd(`etcd/${trim(name)}`, `${kubernetesDir}/pki/etcd/${name}`, readCertificate),
    ),
    ...listNames(kubernetesDir, '.conf').flatMap((name) =>
      readEnd(name, `${kubernetesDir}/${name}`, readEmbedded),
    ),
    ...readEnd('kubelet-client', `${kubeletPkiDir}/kubelet-client-current.pem`, readCertificate),
  ];
}

function readEnd(
  name: string,
  path: string,
  pemOf: (text: string) => string | undefined,
): readonly CertificateEnd[] {
  try {
    const pem = pemOf(readFileSync(path, 'utf8'));
    return pem === undefined ? [] : [{ name, notAfter: new Date(new X509Certificate(pem).validTo) }];
  } catch {
    return [];
  }
}

function readCertificate(text: string): string {
  return text;
}

/** The client certificate in a kubeconfig, found without a YAML parser, which would take longer than the rest. */
function readEmbedded(text: string): string | undefined {
  const data = /^\s*client-certificate-data:\s*["']?([A-Za-z0-9+/=]+)/m.exec(text)?.[1];
  return data === undefined ? undefined : Buffer.from(data, 'base64').toString('utf8');
}

function listNames(directory: string, suffix: string): readonly string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith(suffix))
      .sort();
  } catch {
    return [];
  }
}

function trim(name: string): string {
  return name.replace(/\.crt$/, '');
}

function formatEnd(notAfter: Date, now: Date): string {
  const days = Math.floor(Math.abs(notAfter.getTime() - now.getTime()) / DAY_MS);
  const text = days === 0 ? 'within a day' : days === 1 ? '1 day' : `${days} days`;
  if (notAfter.getTime() < now.getTime()) return days === 0 ? 'ended today' : `ended ${text} ago`;
  return days === 0 ? `ends ${text}` : `ends in ${text}`;
}
