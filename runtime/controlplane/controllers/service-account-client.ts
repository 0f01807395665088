import { isApiError } from '../../api/api-error.ts';
import { ApiClient } from '../../api/client.ts';
import { SERVICE_ACCOUNTS } from '../../api/kinds.ts';
import type { ClientConfig } from '../../api/kubeconfig.ts';
import type { Logger } from '../../base/log.ts';
import { sleep } from '../../base/time.ts';

const NAMESPACE = 'kube-system';
const LIFETIME_SECONDS = 3_600;
/** Renewed after this part of the lifetime. */
const RENEW_AT = 0.7;
const RETRY_MS = 200;

export interface ServiceAccountClientOptions {
  /** May create service accounts and their tokens in kube-system. */
  readonly client: ApiClient;
  /** "deployment-controller" */
  readonly name: string;
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/**
 * A client that acts as system:serviceaccount:kube-system:NAME, which RBAC gives just what the controller
 * needs; its token is renewed until the signal ends it.
 */
export async function createServiceAccountClient(options: ServiceAccountClientOptions): Promise<ApiClient> {
  const { client, name, signal } = options;
  let token = await requestToken(options);
  const own = new ApiClient(withToken(client.config), `kube-controller-manager/${name}`);
  client.onReconfigure((config) => own.reconfigure(withToken(config)));
  void renew();
  return own;

  function withToken({ server, caPem, isInsecure, tlsServerName }: ClientConfig): ClientConfig {
    return {
      server,
      caPem,
      isInsecure,
      tlsServerName,
      get token() {
        return token;
      },
    };
  }

  async function renew(): Promise<void> {
    while (!signal.aborted) {
      try {
        await sleep(LIFETIME_SECONDS * RENEW_AT * 1000, signal);
        token = await requestToken(options);
      } catch {
        return;
      }
    }
  }
}

/** Creates the account where it is missing; tries until the API server grants it. */
async function requestToken({ client, name, signal, log }: ServiceAccountClientOptions): Promise<string> {
  const path = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${name}/token`;
  const body = {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { expirationSeconds: LIFETIME_SECONDS },
  };
  for (;;) {
    signal.throwIfAborted();
    try {
      const answer = await client.requestJson<{ status: { token: string } }>('POST', path, { body });
      return answer.status.token;
    } catch (error) {
      if (isApiError(error, 'NotFound')) {
        const account = { metadata: { name, namespace: NAMESPACE } };
        const isMade = await client.create(SERVICE_ACCOUNTS, account).then(
          () => true,
          // Another controller of the same account was first.
          (failure) => isApiError(failure, 'AlreadyExists'),
        );
        if (isMade) continue;
      }
      log.debug(`Cannot get a token of service account "${name}": ${(error as Error).message}`);
      await sleep(RETRY_MS, signal);
    }
  }
}
