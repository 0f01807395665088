import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists, writeFileAtomic } from '../../base/files.ts';
import { buildSelfSignedCertificate, generateKeyPem } from './x509.ts';

export interface ServingCertificateOptions {
  readonly certDir: string;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly nodeName: string;
  readonly addresses: readonly string[];
  readonly now: Date;
}

const YEAR_MS = 365 * 24 * 3_600_000;

/** The kubelet API's certificate and key: those configured, else a self-signed pair kept in the cert directory. */
export async function loadServingCertificate(
  options: ServingCertificateOptions,
): Promise<{ readonly cert: string; readonly key: string }> {
  if (options.certFile && options.keyFile) {
    return { cert: await readFile(options.certFile, 'utf8'), key: await readFile(options.keyFile, 'utf8') };
  }
  const certPath = join(options.certDir, 'kubelet.crt');
  const keyPath = join(options.certDir, 'kubelet.key');
  const [cert, key] = [await readFileIfExists(certPath), await readFileIfExists(keyPath)];
  if (cert && key && new Date(new X509Certificate(cert).validTo) > options.now) return { cert, key };
  const newKey = generateKeyPem();
  const newCert = buildSelfSignedCertificate(
    {
      subject: { commonName: `${options.nodeName}@${Math.floor(options.now.getTime() / 1000)}` },
      names: [options.nodeName, ...options.addresses],
      notBefore: new Date(options.now.getTime() - 300_000),
      notAfter: new Date(options.now.getTime() + YEAR_MS),
    },
    newKey,
  );
  await writeFileAtomic(keyPath, newKey, { mode: 0o600 });
  await writeFileAtomic(certPath, newCert);
  return { cert: newCert, key: newKey };
}
