import { parseCertificateRequest } from '../../pki/csr.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import { CERTIFICATE_SIGNING_REQUESTS } from '../../runtime/api/kinds.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';

const TIMEOUT_MS = 3_000;

/** Deletes a Node and its certificate requests. Best effort: reset must work with the cluster gone. */
export async function deleteNode(nodeName: string, kubeconfig: string): Promise<void> {
  const client = new ApiClient(await loadClientConfig(kubeconfig));
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const remove = (path: string) =>
    client.requestJson('DELETE', path, { timeoutMs: TIMEOUT_MS }).catch(() => {});
  try {
    await remove(`/api/v1/nodes/${nodeName}`);
    const { items } = await client.list(CERTIFICATE_SIGNING_REQUESTS, { signal });
    const own = items.filter((row) => isOfNode(row.spec, nodeName));
    await Promise.all(
      own.map((row) =>
        remove(`/apis/certificates.k8s.io/v1/certificatesigningrequests/${row.metadata?.name}`),
      ),
    );
  } catch {
    // The objects that are left tell of a node that is away, as after a machine's loss.
  } finally {
    client.close();
  }
}

interface RequestSpec {
  readonly username?: string;
  /** PEM in base64. */
  readonly request: string;
}

/** Asked for by the node itself, or with a token for it. */
function isOfNode({ username, request }: RequestSpec, nodeName: string): boolean {
  const user = `system:node:${nodeName}`;
  if (username === user) return true;
  try {
    return (
      parseCertificateRequest(Buffer.from(request, 'base64').toString('utf8')).subject.commonName === user
    );
  } catch {
    return false;
  }
}
