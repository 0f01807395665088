import type { ApiError } from '../../runtime/api/api-error.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { type ClusterAddress, fetchClusterInfo, type LookOptions } from './cluster-info.ts';
import { checkExpiration, NEW_TOKEN_HINT } from './discover.ts';
import { signatureKey, verifyDetached } from './jws.ts';
import { isToken, parseToken } from './token.ts';

/**
 * Why the API server does not take a token for TLS bootstrap: cluster-info tells whether the token is there,
 * whether its secret is right, and when it ended. Rejects with the most specific of the failures.
 * @throws DISCOVERY_TOKEN_EXPIRED, DISCOVERY_TOKEN_SECRET, DISCOVERY_TOKEN_REFUSED
 */
export async function explainRefusedToken(
  refusal: ApiError,
  { server, caPem, token = '' }: ClusterAddress & { readonly token?: string | undefined },
  options: Omit<LookOptions, 'endpoint'>,
): Promise<never> {
  const endpoint = new URL(server).host;
  if (!isToken(token)) throw refused('the credentials', endpoint, refusal);
  const { id, secret } = parseToken(token);
  const name = `token "${id}.…"`;
  if (refusal.httpStatus === 403) throw refused(name, endpoint, refusal);
  const client = new ApiClient({ server, caPem });
  const info = await fetchClusterInfo(client, { ...options, endpoint })
    .catch(() => undefined)
    .finally(() => client.close());
  if (!info) throw refused(name, endpoint, refusal);
  checkExpiration(info, id, { ...options, endpoint });
  const signature = info.data[signatureKey(id)];
  if (signature === undefined) throw refused(`${name}, which it does not know`, endpoint, refusal);
  if (verifyDetached(signature, info.kubeconfig, { id, secret }))
    throw refused(`${name}, whose usages lack "authentication"`, endpoint, refusal);
  throw new TkadmError(
    'DISCOVERY_TOKEN_SECRET',
    `Cannot join: ${name} is known at "${endpoint}", its secret half is wrong`,
    { cause: refusal, hint: 'tkadm token list, on the control plane', details: { tokenId: id } },
  );
}

function refused(subject: string, endpoint: string, refusal: ApiError): TkadmError {
  const state =
    refusal.httpStatus === 403 ? 'may not do what a joining node must' : 'is not accepted for TLS bootstrap';
  return new TkadmError(
    'DISCOVERY_TOKEN_REFUSED',
    `Cannot join: the API server at "${endpoint}" answers HTTP ${refusal.httpStatus} to ${subject}: it ${state}`,
    { cause: refusal, hint: NEW_TOKEN_HINT },
  );
}
