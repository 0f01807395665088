import type * as certificates from 'kubernetes-types/certificates/v1.d.ts';
import type { ApiClient } from '../../api/client.ts';
import { CERTIFICATE_SIGNING_REQUESTS } from '../../api/kinds.ts';
import { TkadmError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { waitFor } from '../../base/time.ts';
import { buildCertificateRequest, generateKeyPem } from './x509.ts';

/** What a kubelet asks its two signers for (certificates.k8s.io/v1, "Kubernetes signers"). */
const NODE_SIGNERS = {
  client: {
    signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
    usages: ['digital signature', 'client auth'],
    what: 'client certificate',
  },
  serving: {
    signerName: 'kubernetes.io/kubelet-serving',
    usages: ['digital signature', 'server auth'],
    what: 'serving certificate',
  },
} as const;

const WAIT_MS = 15 * 60_000;
/** Requests that nobody has approved yet are looked at this often; one that is answered at once is seen at once. */
const POLL_MS = 200;

export interface CertificateRequestOptions {
  readonly signer: keyof typeof NODE_SIGNERS;
  readonly nodeName: string;
  /** DNS names and IP addresses; a client certificate has none. */
  readonly names?: readonly string[];
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Asks a signer for a certificate of this node with a new key and waits for it. Returns both as one PEM text.
 * @throws AGENT_BOOTSTRAP when the request is denied or fails; WAIT_TIMEOUT when nobody answers it
 */
export async function requestCertificate(
  client: ApiClient,
  { signer, nodeName, names = [], log, signal }: CertificateRequestOptions,
): Promise<string> {
  const { signerName, usages, what } = NODE_SIGNERS[signer];
  const keyPem = generateKeyPem();
  const subject = { commonName: `system:node:${nodeName}`, organization: 'system:nodes' };
  const request = buildCertificateRequest({ subject, names }, keyPem);
  const created = await client.create(CERTIFICATE_SIGNING_REQUESTS, {
    metadata: { generateName: 'csr-' },
    spec: { request: Buffer.from(request).toString('base64'), signerName, usages: [...usages] },
  });
  const name = created.metadata?.name ?? '';
  log.info(`Requested a ${what}`, { request: name });
  const certificate = await waitFor(
    async () => readIssued(await client.get(CERTIFICATE_SIGNING_REQUESTS, { name }), what),
    { subject: `a ${what} for request "${name}"`, timeoutMs: WAIT_MS, intervalMs: POLL_MS, signal },
  );
  if (certificate instanceof Error) throw certificate;
  return `${certificate.trim()}\n${keyPem}`;
}

/** The certificate, undefined while there is none, or the error that ends the wait. */
function readIssued(
  request: certificates.CertificateSigningRequest,
  what: string,
): string | TkadmError | undefined {
  for (const condition of request.status?.conditions ?? []) {
    if (condition.type === 'Denied' || condition.type === 'Failed') {
      return new TkadmError(
        'AGENT_BOOTSTRAP',
        `Cannot get a ${what}: request "${request.metadata?.name}" is ${condition.type}: ${condition.message ?? ''}`,
      );
    }
  }
  const data = request.status?.certificate;
  return data ? Buffer.from(data, 'base64').toString('utf8') : undefined;
}
