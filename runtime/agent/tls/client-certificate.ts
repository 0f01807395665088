import { X509Certificate } from 'node:crypto';
import { dump } from 'js-yaml';
import { ApiClient } from '../../api/client.ts';
import { loadClientConfig, parseKubeconfig } from '../../api/kubeconfig.ts';
import { formatError, TkadmError } from '../../base/errors.ts';
import { readFileIfExists, writeFileAtomic } from '../../base/files.ts';
import type { Logger } from '../../base/log.ts';
import { sleep } from '../../base/time.ts';
import { requestCertificate } from './certificate-request.ts';
import { currentPath, readStored, type StoredCertificate, writeStored } from './certificate-store.ts';
import { rotate } from './rotation.ts';

const STORE = 'kubelet-client';
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 10_000;

export interface ClientCertificateOptions {
  readonly nodeName: string;
  /** "/var/lib/kubelet/pki" */
  readonly certDir: string;
  readonly kubeconfig: string;
  readonly now: () => Date;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface BootstrapOptions extends ClientCertificateOptions {
  readonly bootstrapKubeconfig: string;
}

/**
 * Makes a usable kubeconfig when there is none: asks for a client certificate with the bootstrap credentials,
 * retried until it is there, and writes certificate, link and kubeconfig. One that somebody else puts there
 * in the meantime ends the wait as well.
 */
export async function ensureKubeconfig(options: BootstrapOptions): Promise<void> {
  const { log, signal } = options;
  let lastProblem = '';
  for (let retryMs = RETRY_FIRST_MS; !signal.aborted; retryMs = Math.min(retryMs * 1.5, RETRY_MAX_MS)) {
    const obstacle = await findObstacle(options);
    if (obstacle === undefined) return;
    try {
      await bootstrap(options);
      return;
    } catch (error) {
      if (signal.aborted) return;
      const problem = `${obstacle}. Bootstrapping anew is not possible yet: ${formatError(error)}`;
      if (problem !== lastProblem) log.warn(`${problem}. ${repairHint(options)}`);
      lastProblem = problem;
    }
    await sleep(retryMs, signal).catch(() => {});
  }
}

/** Why the kubeconfig cannot be used, or undefined. */
async function findObstacle({ kubeconfig, now }: BootstrapOptions): Promise<string | undefined> {
  if ((await readFileIfExists(kubeconfig)) === undefined) return `There is no "${kubeconfig}"`;
  try {
    const { certPem, token, tokenFile } = await loadClientConfig(kubeconfig);
    if (!certPem) return token || tokenFile ? undefined : `"${kubeconfig}" has no credentials`;
    const { validTo } = new X509Certificate(certPem);
    return new Date(validTo) > now()
      ? undefined
      : `The client certificate of "${kubeconfig}" expired on ${validTo}`;
  } catch (error) {
    return formatError(error);
  }
}

async function bootstrap(options: BootstrapOptions): Promise<void> {
  const config = await loadClientConfig(options.bootstrapKubeconfig);
  const client = new ApiClient(config, 'tkadm-agent');
  try {
    const pem = await requestCertificate(client, { ...options, signer: 'client' });
    const link = await writeStored(options.certDir, STORE, { pem, now: options.now() });
    await writeKubeconfig(options.kubeconfig, link, config);
  } finally {
    client.close();
  }
}

/** What to do about a certificate that nobody renews any more. */
function repairHint({ nodeName, kubeconfig }: ClientCertificateOptions): string {
  const command = `tkadm kubeconfig user --org system:nodes --client-name system:node:${nodeName}`;
  return `On a control-plane node run "${command}" and put its output into "${kubeconfig}" here`;
}

async function writeKubeconfig(
  path: string,
  certificatePath: string,
  bootstrap: { readonly server: string; readonly caPem?: string | undefined },
): Promise<void> {
  const ca = bootstrap.caPem
    ? { 'certificate-authority-data': Buffer.from(bootstrap.caPem).toString('base64') }
    : {};
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'default-cluster', cluster: { server: bootstrap.server, ...ca } }],
    contexts: [
      {
        name: 'default-context',
        context: { cluster: 'default-cluster', namespace: 'default', user: 'default-auth' },
      },
    ],
    'current-context': 'default-context',
    preferences: {},
    users: [{ name: 'default-auth', user: fileCredentials(certificatePath) }],
  };
  await writeFileAtomic(path, dump(config, { lineWidth: -1 }), { mode: 0o600 });
}

function fileCredentials(path: string) {
  return { 'client-certificate': path, 'client-key': path };
}

/**
 * Moves a certificate that the kubeconfig holds itself, as `init` writes it, to where it can be renewed: the
 * kubeconfig names the link from then on (kubeadm's phase kubelet-finalize).
 */
export async function adoptCertificate(options: ClientCertificateOptions): Promise<void> {
  const { kubeconfig, certDir, now, log } = options;
  const text = await readFileIfExists(kubeconfig);
  if (text === undefined) return;
  const config = parseKubeconfig(text, kubeconfig);
  const context = config.contexts?.find(({ name }) => name === config['current-context'])?.context;
  const entry = config.users?.find(({ name }) => name === context?.user);
  const { 'client-certificate-data': cert, 'client-key-data': key, ...others } = entry?.user ?? {};
  if (!entry || !cert || !key) return;
  const [certPem, keyPem] = [cert, key].map((data) => Buffer.from(data, 'base64').toString('utf8').trim());
  const pem = `${certPem}\n${keyPem}\n`;
  const stored = await readStored(certDir, STORE).catch(() => undefined);
  if (stored?.pem !== pem) await writeStored(certDir, STORE, { pem, now: now() });
  entry.user = { ...others, ...fileCredentials(currentPath(certDir, STORE)) };
  await writeFileAtomic(kubeconfig, dump(config, { lineWidth: -1 }), { mode: 0o600 });
  log.info('The client certificate is kept where it can be renewed', { file: currentPath(certDir, STORE) });
}

export interface ClientRotationOptions extends ClientCertificateOptions {
  readonly bootstrapKubeconfig: string | undefined;
  readonly client: () => ApiClient | undefined;
  /** Called after a new certificate is in place. */
  readonly onRotated: () => Promise<void>;
  readonly onFailure: (message: string) => void;
  /** 0 to 1: where between 70 % and 90 % of the life the certificate is renewed. */
  readonly random: () => number;
}

/** Renews the client certificate for as long as the signal lets it. */
export async function rotateClientCertificate(options: ClientRotationOptions): Promise<void> {
  await rotate({
    ...options,
    what: 'client certificate',
    async read() {
      // Somebody may have put another kubeconfig there, to repair the node.
      await adoptCertificate(options);
      return readStored(options.certDir, STORE);
    },
    renew: (current) => renew(options, current),
    createsFirst: false,
  });
}

async function renew(options: ClientRotationOptions, current: StoredCertificate | undefined): Promise<void> {
  const { bootstrapKubeconfig, certDir, now } = options;
  if (current && current.toMs > now().getTime()) {
    const client = options.client();
    if (!client) throw new TkadmError('AGENT_DISCONNECTED', 'Cannot ask the API server: no credentials yet');
    const pem = await requestCertificate(client, { ...options, signer: 'client' });
    await writeStored(certDir, STORE, { pem, now: now() });
  } else {
    if (!bootstrapKubeconfig || (await readFileIfExists(bootstrapKubeconfig)) === undefined) {
      throw new TkadmError('AGENT_BOOTSTRAP', 'Cannot ask for a certificate: the one in use has expired', {
        hint: repairHint(options),
      });
    }
    await bootstrap({ ...options, bootstrapKubeconfig });
  }
  await options.onRotated();
}
