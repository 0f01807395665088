import { parseCertificateRequest } from '../../pki/csr.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import { CERTIFICATE_SIGNING_REQUESTS } from '../../runtime/api/kinds.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { TkadmError } from '../../runtime/base/errors.ts';

export interface RequestWatchOptions {
  /** With which the agent asks for its certificate. */
  readonly kubeconfig: string;
  readonly nodeName: string;
  /** How long an approved request may be without a certificate; default: 10 s. */
  readonly patienceMs?: number;
  /** Between two looks; default: 1 s. */
  readonly intervalMs?: number;
}

const PATIENCE_MS = 10_000;
const INTERVAL_MS = 1_000;

/**
 * Returns a function that now and then looks whether a node's request was approved and nobody signs it, as with an
 * external CA; what it cannot see is no failure. Where somebody signs, that takes milliseconds.
 * @throws REQUEST_NOT_SIGNED
 */
export function createRequestWatch(options: RequestWatchOptions): () => Promise<void> {
  const { nodeName, patienceMs = PATIENCE_MS, intervalMs = INTERVAL_MS } = options;
  let lookedMs = Number.NEGATIVE_INFINITY;
  let approvedMs: number | undefined;
  return async () => {
    const nowMs = performance.now();
    if (nowMs - lookedMs < intervalMs) return;
    lookedMs = nowMs;
    const name = await findUnsigned(options).catch(() => undefined);
    if (name === undefined) return;
    approvedMs ??= nowMs;
    if (nowMs - approvedMs < patienceMs) return;
    throw new TkadmError(
      'REQUEST_NOT_SIGNED',
      `Cannot join "${nodeName}" by a token: its certificate request "${name}" is approved, and nobody in the cluster signs it: its CA is an external one`,
      {
        hint: `Sign a client certificate for system:node:${nodeName} (group system:nodes) with that CA, and join with a discovery file that holds it`,
      },
    );
  };
}

/** Name of the node's request that is approved and has no certificate. */
async function findUnsigned({ kubeconfig, nodeName }: RequestWatchOptions): Promise<string | undefined> {
  const client = new ApiClient(await loadClientConfig(kubeconfig));
  try {
    const { items } = await client.list(CERTIFICATE_SIGNING_REQUESTS);
    const found = items.find(
      ({ spec, status }) =>
        status?.conditions?.some(({ type }) => type === 'Approved') &&
        !status.certificate &&
        nodeOf(spec.request) === nodeName,
    );
    return found?.metadata?.name;
  } finally {
    client.close();
  }
}

/** "cp" of a request for system:node:cp; undefined for others. */
function nodeOf(request: string): string | undefined {
  try {
    const { commonName = '' } = parseCertificateRequest(
      Buffer.from(request, 'base64').toString('utf8'),
    ).subject;
    return commonName.startsWith('system:node:') ? commonName.slice('system:node:'.length) : undefined;
  } catch {
    return undefined;
  }
}
