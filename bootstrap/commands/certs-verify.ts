import { X509Certificate } from 'node:crypto';
import { type ConnectionOptions, connect } from 'node:tls';
import { ApiClient } from '../../runtime/api/client.ts';
import { loadClientConfig, parseKubeconfig } from '../../runtime/api/kubeconfig.ts';
import { formatHostPort } from '../../runtime/base/cidr.ts';
import { formatError, isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { localServer } from '../../templates/kubeconfig.ts';
import type { CertsConfig } from './certs-config.ts';
import type { CertsTarget } from './certs-targets.ts';

interface VerifyContext {
  readonly host: Host;
  readonly config: CertsConfig;
  readonly signal: AbortSignal;
  /** How long a component may take to read its files again. */
  readonly timeoutMs?: number;
}

const READ_AGAIN_MS = 30_000;
const CONNECT_MS = 3_000;
const ETCD_PORTS: Readonly<Record<string, number>> = { 'etcd-server': 2379, 'etcd-peer': 2380 };

/**
 * Looks, by connecting, whether a renewed certificate is in use: a server's until it is served, a kubeconfig's
 * by asking the API server who it is. Returns what was found, for people.
 * @throws WAIT_TIMEOUT when a server that answers goes on with another certificate.
 */
export async function verifyInUse(
  target: CertsTarget,
  certPem: string,
  context: VerifyContext,
): Promise<string> {
  if ('kubeconfig' in target) return verifyAccepted(target, context);
  if (target.name === 'apiserver')
    return verifyServed(target, certPem, await apiServerAddress(context), context);
  const etcdPort = ETCD_PORTS[target.name];
  if (etcdPort !== undefined) {
    const { advertiseAddress } = context.config.config.localAPIEndpoint;
    const host = target.name === 'etcd-server' ? '127.0.0.1' : advertiseAddress;
    return verifyServed(target, certPem, { host, port: etcdPort }, context);
  }
  return `${target.reader} reads it again by itself`;
}

/** The API server of this node, as its own components are told. */
async function apiServerAddress({ host, config }: VerifyContext) {
  const path = `${config.kubernetesDir}/controller-manager.conf`;
  const text = await host.readFile(path);
  const server = text && parseKubeconfig(text, path).clusters?.[0]?.cluster.server;
  const url = new URL(server || localServer(config.config));
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 443) };
}

async function verifyServed(
  target: CertsTarget,
  certPem: string,
  address: { readonly host: string; readonly port: number },
  { signal, timeoutMs = READ_AGAIN_MS }: VerifyContext,
): Promise<string> {
  const at = formatHostPort(address.host, address.port);
  const { fingerprint256 } = new X509Certificate(certPem);
  let unreachable: string | undefined;
  const probe = async () => {
    try {
      return (await servedFingerprint(address)) === fingerprint256 ? true : undefined;
    } catch (error) {
      unreachable = formatError(error);
      return true;
    }
  };
  await waitFor(probe, { subject: at, timeoutMs, intervalMs: 100, signal }).catch((cause) => {
    if (!isTkadmError(cause, 'WAIT_TIMEOUT')) throw cause;
    throw new TkadmError(
      'WAIT_TIMEOUT',
      `Cannot see the new certificate "${target.path}" in use: ${target.reader} at ${at} serves the one before`,
      { cause, hint: `Restart its pod: move /etc/kubernetes/manifests/${target.reader}.yaml away and back` },
    );
  });
  return unreachable === undefined
    ? `${target.reader} at ${at} serves it`
    : `${target.reader} at ${at} does not answer (${unreachable}) and reads it when it starts`;
}

/** The SHA-256 fingerprint of the certificate that a server shows. */
function servedFingerprint(address: ConnectionOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    // Only what is shown is of interest; nothing is sent.
    const socket = connect({ ...address, rejectUnauthorized: false, timeout: CONNECT_MS }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on('timeout', () => socket.destroy(new Error(`no answer within ${CONNECT_MS / 1000} s`)));
    socket.on('error', reject);
  });
}

const SELF_REVIEW = '/apis/authentication.k8s.io/v1/selfsubjectreviews';

async function verifyAccepted(target: CertsTarget, { signal }: VerifyContext): Promise<string> {
  let client: ApiClient | undefined;
  try {
    client = new ApiClient(await loadClientConfig(target.path));
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
    const review = await client.requestJson<{
      readonly status?: { readonly userInfo?: { username?: string } };
    }>('POST', SELF_REVIEW, { body, timeoutMs: CONNECT_MS, signal });
    return `the API server knows it as "${review.status?.userInfo?.username}"; ${target.reader} reads it again`;
  } catch (error) {
    return `the API server does not answer to it (${formatError(error)}); ${target.reader} reads it again`;
  } finally {
    client?.close();
  }
}
