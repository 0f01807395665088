import { X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** How long before its end a certificate is warned of. */
const EXPIRY_WARNING_MS = 30 * 24 * 3600_000;

const DAY_MS = 24 * 3600_000;

/** A certificate of this machine and its end. */
export interface CertificateEnd {
  /** "apiserver", "etcd/ca", "admin.conf" */
  readonly name: string;
  readonly notAfter: Date;
  /** The key of the cluster's CA is kept elsewhere. */
  readonly isExternal?: boolean;
}

/** Who can make a new one, in the order in which the line tells it. */
const ADVICE = {
  renew: 'tkadm certs renew all',
  external: 'the CA elsewhere has to issue new ones: tkadm certs generate-csr',
  agent: 'the agent renews its own while it runs: tkadm service status',
  ca: 'a CA is not renewed in place: make a new one in time',
} as const;

function adviceFor({ name, isExternal = false }: CertificateEnd): keyof typeof ADVICE {
  if (/^(.*\/|.*-)?ca$/.test(name)) return 'ca';
  if (name.startsWith('kubelet')) return 'agent';
  return isExternal ? 'external' : 'renew';
}

/** One line that names what ends within 30 days, or has ended, and what to do; undefined when nothing does. */
export function formatExpiryWarning(ends: readonly CertificateEnd[], now: Date): string | undefined {
  const soon = ends
    .filter(({ notAfter }) => notAfter.getTime() - now.getTime() < EXPIRY_WARNING_MS)
    .sort((a, b) => a.notAfter.getTime() - b.notAfter.getTime());
  if (soon.length === 0) return undefined;
  const kinds = new Set(soon.map(adviceFor));
  const advice = Object.entries(ADVICE).flatMap(([kind, text]) =>
    kinds.has(kind as keyof typeof ADVICE) ? [text] : [],
  );
  const list = soon.map(({ name, notAfter }) => `"${name}" ${formatEnd(notAfter, now)}`).join(', ');
  return `certificates end: ${list}; ${advice.join('; ')}`;
}

/**
 * Reads the ends of all certificates below a directory of kubeadm's layout, and of the agent's own, without
 * waiting and without a word about what cannot be read: this goes before every command.
 */
export function readCertificateEnds(kubernetesDir: string, kubeletPkiDir: string): readonly CertificateEnd[] {
  const pki = listNames(`${kubernetesDir}/pki`, '.crt');
  if (pki.length === 0 && listNames(kubernetesDir, '.conf').length === 0) return [];
  const isExternal = pki.includes('ca.crt') && !existsSync(`${kubernetesDir}/pki/ca.key`);
  const ends = [
    ...pki.flatMap((name) => readEnd(trim(name), `${kubernetesDir}/pki/${name}`, readCertificate)),
    ...listNames(`${kubernetesDir}/pki/etcd`, '.crt').flatMap((name) =>
      readEnd(`etcd/${trim(name)}`, `${kubernetesDir}/pki/etcd/${name}`, readCertificate),
    ),
    ...listNames(kubernetesDir, '.conf').flatMap((name) =>
      readEnd(name, `${kubernetesDir}/${name}`, readEmbedded),
    ),
    ...['kubelet-client', 'kubelet-server'].flatMap((name) =>
      readEnd(name, `${kubeletPkiDir}/${name}-current.pem`, readCertificate),
    ),
  ];
  return isExternal ? ends.map((end) => ({ ...end, isExternal })) : ends;
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
