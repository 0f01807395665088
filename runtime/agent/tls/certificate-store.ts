import { X509Certificate } from 'node:crypto';
import { rename, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists, writeFileAtomic } from '../../base/files.ts';

/** Names of the kubelet's certificate files: "kubelet-client-current.pem" is a link to the newest. */
export type StoreName = 'kubelet-client' | 'kubelet-server';

/** A certificate with its key in one PEM file, and how long it is in use here. */
export interface StoredCertificate {
  /** Certificate and key. */
  readonly pem: string;
  /** Since when this machine has it, or when it begins to be valid if that is later; milliseconds. */
  readonly fromMs: number;
  readonly toMs: number;
}

/** The link that clients and servers read: "/var/lib/kubelet/pki/kubelet-client-current.pem". */
export function currentPath(certDir: string, name: StoreName): string {
  return join(certDir, `${name}-current.pem`);
}

/** The certificate in use; undefined when there is none. @throws FILE_READ */
export async function readStored(certDir: string, name: StoreName): Promise<StoredCertificate | undefined> {
  const path = currentPath(certDir, name);
  const pem = await readFileIfExists(path);
  if (pem === undefined) return undefined;
  const certificate = new X509Certificate(pem);
  const [notBefore, toMs] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  // Signers date certificates back: of a short life the greater part would be over at once.
  const writtenMs = (await stat(path)).mtimeMs;
  return { pem, fromMs: writtenMs < toMs ? Math.max(notBefore, writtenMs) : notBefore, toMs };
}

/**
 * Writes "kubelet-client-<time>.pem" and swaps the link to it; returns the link's path. The files before stay,
 * as the kubelet leaves them.
 */
export async function writeStored(
  certDir: string,
  name: StoreName,
  { pem, now }: { readonly pem: string; readonly now: Date },
): Promise<string> {
  const stamp = now.toISOString().slice(0, 19).replace('T', '-').replaceAll(':', '-');
  const path = join(certDir, `${name}-${stamp}.pem`);
  await writeFileAtomic(path, pem, { mode: 0o600 });
  const link = currentPath(certDir, name);
  const temporary = `${link}.tmp`;
  await rm(temporary, { force: true });
  await symlink(path, temporary);
  await rename(temporary, link);
  return link;
}
