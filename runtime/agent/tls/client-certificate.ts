import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { readFile, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type * as certificates from 'kubernetes-types/certificates/v1.d.ts';
import { ApiClient } from '../../api/client.ts';
import { CERTIFICATE_SIGNING_REQUESTS } from '../../api/kinds.ts';
import { loadClientConfig } from '../../api/kubeconfig.ts';
import { TkadmError } from '../../base/errors.ts';
import { readFileIfExists, writeFileAtomic } from '../../base/files.ts';
import type { Logger } from '../../base/log.ts';
import { sleep, waitFor } from '../../base/time.ts';
import { buildCertificateRequest, generateKeyPem } from './x509.ts';

const SIGNER = 'kubernetes.io/kube-apiserver-client-kubelet';
const CURRENT = 'kubelet-client-current.pem';
const WAIT_MS = 15 * 60_000;

export interface ClientCertificateOptions {
  readonly nodeName: string;
  /** "/var/lib/kubelet/pki" */
  readonly certDir: string;
  readonly now: () => Date;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface BootstrapOptions extends ClientCertificateOptions {
  readonly kubeconfig: string;
  readonly bootstrapKubeconfig: string;
}

/**
 * Makes a usable kubeconfig when there is none: asks for a client certificate with the bootstrap
 * credentials, retried until it is there, and writes certificate, link and kubeconfig.
 */
export async function ensureKubeconfig(options: BootstrapOptions): Promise<void> {
  if (await isUsable(options)) return;
  while (!options.signal.aborted) {
    try {
      const bootstrap = await loadClientConfig(options.bootstrapKubeconfig);
      const client = new ApiClient(bootstrap, 'tkadm-agent');
      try {
        const path = await requestCertificate(client, options);
        await writeKubeconfig(options, path, bootstrap);
      } finally {
        client.close();
      }
      return;
    } catch (error) {
      if (options.signal.aborted) return;
      options.log.warn(`Cannot bootstrap the client certificate yet: ${(error as Error).message}`);
    }
    await sleep(1000, options.signal).catch(() => {});
  }
}

async function isUsable(options: BootstrapOptions): Promise<boolean> {
  if ((await readFileIfExists(options.kubeconfig)) === undefined) return false;
  try {
    const { certPem, token, tokenFile } = await loadClientConfig(options.kubeconfig);
    if (!certPem) return token !== undefined || tokenFile !== undefined;
    return new Date(new X509Certificate(certPem).validTo) > options.now();
  } catch (error) {
    options.log.warn(`Bootstrapping anew: ${(error as Error).message}`);
    return false;
  }
}

/**
 * Asks the signer for a client certificate of this node with a new key, waits for it, and writes
 * "kubelet-client-<time>.pem" and the link to it. Returns the link's path.
 * @throws AGENT_BOOTSTRAP when the request is denied or fails.
 */
async function requestCertificate(client: ApiClient, options: ClientCertificateOptions): Promise<string> {
  const keyPem = generateKeyPem();
  const subject = { commonName: `system:node:${options.nodeName}`, organization: 'system:nodes' };
  const request = buildCertificateRequest(subject, keyPem);
  const created = await client.create(CERTIFICATE_SIGNING_REQUESTS, {
    metadata: { generateName: 'csr-' },
    spec: {
      request: Buffer.from(request).toString('base64'),
      signerName: SIGNER,
      usages: ['digital signature', 'client auth'],
    },
  });
  const name = created.metadata?.name ?? '';
  options.log.info('Requested a client certificate', { request: name });
  const certificate = await waitFor(
    async () => readIssued(await client.get(CERTIFICATE_SIGNING_REQUESTS, { name })),
    {
      subject: `a certificate for request "${name}"`,
      timeoutMs: WAIT_MS,
      intervalMs: 200,
      signal: options.signal,
    },
  );
  if (certificate instanceof Error) throw certificate;
  return writeCertificate(`${certificate.trim()}\n${keyPem}`, options);
}

/** The certificate, undefined while there is none, or the error that ends the wait. */
function readIssued(request: certificates.CertificateSigningRequest): string | TkadmError | undefined {
  for (const condition of request.status?.conditions ?? []) {
    if (condition.type === 'Denied' || condition.type === 'Failed') {
      return new TkadmError(
        'AGENT_BOOTSTRAP',
        `Cannot get a client certificate: request "${request.metadata?.name}" is ${condition.type}: ${condition.message ?? ''}`,
      );
    }
  }
  const data = request.status?.certificate;
  return data ? Buffer.from(data, 'base64').toString('utf8') : undefined;
}

async function writeCertificate(pem: string, { certDir, now }: ClientCertificateOptions): Promise<string> {
  const stamp = now().toISOString().slice(0, 19).replace('T', '-').replaceAll(':', '-');
  const path = join(certDir, `kubelet-client-${stamp}.pem`);
  await writeFileAtomic(path, pem, { mode: 0o600 });
  const link = join(certDir, CURRENT);
  const temporary = `${link}.tmp`;
  await rm(temporary, { force: true });
  await symlink(path, temporary);
  await rename(temporary, link);
  return link;
}

async function writeKubeconfig(
  options: BootstrapOptions,
  certificatePath: string,
  bootstrap: { readonly server: string; readonly caPem?: string | undefined },
): Promise<void> {
  const ca = bootstrap.caPem
    ? `\n    certificate-authority-data: ${Buffer.from(bootstrap.caPem).toString('base64')}`
    : '';
  const text = `apiVersion: v1
kind: Config
clusters:
- name: default-cluster
  cluster:
    server: ${bootstrap.server}${ca}
contexts:
- name: default-context
  context:
    cluster: default-cluster
    namespace: default
    user: default-auth
current-context: default-context
preferences: {}
users:
- name: default-auth
  user:
    client-certificate: ${certificatePath}
    client-key: ${certificatePath}
`;
  await writeFileAtomic(options.kubeconfig, text, { mode: 0o600 });
}

export interface RotationOptions extends ClientCertificateOptions {
  readonly client: () => ApiClient | undefined;
  /** Called after a new certificate is in place. */
  readonly onRotated: () => Promise<void>;
  /** 0 to 1: where between 70 % and 90 % of the life the certificate is renewed. */
  readonly random: () => number;
}

/** Renews the client certificate between 70 % and 90 % of its life, for as long as the signal lets it. */
export async function rotateClientCertificate(options: RotationOptions): Promise<void> {
  const path = join(options.certDir, CURRENT);
  const share = 0.7 + 0.2 * options.random();
  while (!options.signal.aborted) {
    const dueAt = await rotationTime(path, share);
    const client = options.client();
    if (dueAt !== undefined && client && options.now() >= dueAt) {
      try {
        await requestCertificate(client, options);
        options.log.info('Rotated the client certificate');
        await options.onRotated();
      } catch (error) {
        options.log.warn(`Cannot rotate the client certificate: ${(error as Error).message}`);
      }
    }
    const leftMs = dueAt === undefined ? 60_000 : dueAt.getTime() - options.now().getTime();
    await sleep(Math.min(Math.max(leftMs, 10_000), 3_600_000), options.signal).catch(() => {});
  }
}

async function rotationTime(path: string, share: number): Promise<Date | undefined> {
  const pem = await readFileIfExists(path);
  if (pem === undefined) return undefined;
  const certificate = new X509Certificate(pem);
  const from = Date.parse(certificate.validFrom);
  return new Date(from + (Date.parse(certificate.validTo) - from) * share);
}

/** True when the PEM file holds a certificate and the key that belongs to it. */
export async function isKeyPair(path: string): Promise<boolean> {
  const pem = await readFile(path, 'utf8');
  const key = createPublicKey(createPrivateKey(pem)).export({ type: 'spki', format: 'der' });
  return new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' }).equals(key);
}
