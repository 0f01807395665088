import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { ApiClient } from '../../api/client.ts';
import { TkadmError } from '../../base/errors.ts';
import { FileGroup } from '../../base/file-group.ts';
import { readFileIfExists, writeFileAtomic } from '../../base/files.ts';
import { checkKeyPair } from '../../base/key-pair.ts';
import type { Logger } from '../../base/log.ts';
import { requestCertificate } from './certificate-request.ts';
import { readStored, type StoredCertificate, writeStored } from './certificate-store.ts';
import { rotate } from './rotation.ts';
import { buildSelfSignedCertificate, generateKeyPem } from './x509.ts';

export interface ServingCertificateOptions {
  readonly certDir: string;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  /** `serverTLSBootstrap`: the cluster's CA signs, instead of the node itself. */
  readonly isSignedByCluster: boolean;
  readonly nodeName: string;
  readonly addresses: readonly string[];
  readonly client: () => ApiClient | undefined;
  readonly onFailure: (message: string) => void;
  readonly now: () => Date;
  readonly random: () => number;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** The kubelet API's certificate: what it is now, and each new one. */
export interface ServingCertificate {
  readonly pair: () => KeyPair;
  /** Renews or follows it until the signal ends that; calls back with each change. */
  readonly follow: (onChange: () => void) => void;
}

const YEAR_MS = 365 * 24 * 3_600_000;
const STORE = 'kubelet-server';

/** The configured files, what the cluster signs, or a self-signed pair that is kept in the cert directory. */
export async function openServingCertificate(
  options: ServingCertificateOptions,
): Promise<ServingCertificate> {
  const { certFile, keyFile } = options;
  if (certFile && keyFile) return openFiles([certFile, keyFile], options);
  return options.isSignedByCluster ? openSigned(options) : openSelfSigned(options);
}

async function openFiles(
  paths: readonly string[],
  { log, signal }: ServingCertificateOptions,
): Promise<ServingCertificate> {
  const check = ([cert = '', key = '']: readonly string[]) => checkKeyPair(cert, key);
  const group = await FileGroup.read({ subject: 'serving certificate', paths, check });
  return {
    pair: () => ({ cert: group.texts[0]!, key: group.texts[1]! }),
    follow: (onChange) => group.follow({ onChange, log, signal }),
  };
}

/** Until the first request is approved, callers see the self-signed pair. */
async function openSigned(options: ServingCertificateOptions): Promise<ServingCertificate> {
  const { certDir, nodeName, addresses, now } = options;
  const read = () => readStored(certDir, STORE);
  const stored = await read();
  let pair =
    stored && stored.toMs > now().getTime() ? toPair(stored) : toPair(await readOrMakeSelfSigned(options));
  const follow = (onChange: () => void) => {
    void rotate({
      ...options,
      what: 'serving certificate',
      read,
      createsFirst: true,
      async renew() {
        const client = options.client();
        if (!client)
          throw new TkadmError('AGENT_DISCONNECTED', 'Cannot ask the API server: no credentials yet');
        const names = [nodeName, ...addresses];
        const pem = await requestCertificate(client, { ...options, signer: 'serving', names });
        await writeStored(certDir, STORE, { pem, now: now() });
        pair = toPair({ pem });
        onChange();
      },
    });
  };
  return { pair: () => pair, follow };
}

async function openSelfSigned(options: ServingCertificateOptions): Promise<ServingCertificate> {
  let current = await readOrMakeSelfSigned(options);
  const follow = (onChange: () => void) => {
    void rotate({
      ...options,
      what: 'self-signed serving certificate',
      read: async () => current,
      createsFirst: false,
      async renew() {
        current = await makeSelfSigned(options);
        onChange();
      },
    });
  };
  return { pair: () => toPair(current), follow };
}

async function readOrMakeSelfSigned(options: ServingCertificateOptions): Promise<StoredCertificate> {
  const [certPath, keyPath] = selfSignedPaths(options.certDir);
  const [cert, key] = [await readFileIfExists(certPath), await readFileIfExists(keyPath)];
  if (cert && key) {
    const stored = describe(cert, key);
    if (stored.toMs > options.now().getTime()) return stored;
  }
  return makeSelfSigned(options);
}

async function makeSelfSigned(options: ServingCertificateOptions): Promise<StoredCertificate> {
  const [certPath, keyPath] = selfSignedPaths(options.certDir);
  const nowMs = options.now().getTime();
  const key = generateKeyPem();
  const cert = buildSelfSignedCertificate(
    {
      subject: { commonName: `${options.nodeName}@${Math.floor(nowMs / 1000)}` },
      names: [options.nodeName, ...options.addresses],
      notBefore: new Date(nowMs - 300_000),
      notAfter: new Date(nowMs + YEAR_MS),
    },
    key,
  );
  await writeFileAtomic(keyPath, key, { mode: 0o600 });
  await writeFileAtomic(certPath, cert);
  return describe(cert, key);
}

function selfSignedPaths(certDir: string): readonly [string, string] {
  return [join(certDir, 'kubelet.crt'), join(certDir, 'kubelet.key')];
}

function describe(cert: string, key: string): StoredCertificate {
  const { validFrom, validTo } = new X509Certificate(cert);
  return { pem: `${cert.trim()}\n${key}`, fromMs: Date.parse(validFrom), toMs: Date.parse(validTo) };
}

/** OpenSSL finds either in a text that has both. */
function toPair({ pem }: Pick<StoredCertificate, 'pem'>): KeyPair {
  return { cert: pem, key: pem };
}
