import { randomBytes } from 'node:crypto';
import { isApiError } from '../../runtime/api/api-error.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { SECRETS } from '../../runtime/api/kinds.ts';
import { formatCollectionPath } from '../../runtime/api/resources.ts';
import { buildTokenSecret, DEFAULT_TOKEN_GROUP, generateToken, TOKEN_USAGES } from './token.ts';

/** A join over SSH needs its token for minutes. */
const TTL_MS = 15 * 60_000;
/** Who has interrupted the join does not wait long for an API server that is away. */
const REMOVE_TIMEOUT_MS = 5_000;

/** A token for one join. */
export interface ShortLivedToken {
  readonly token: string;
  /** Takes it out of the cluster; one that cannot be reached lets it expire. */
  readonly remove: () => Promise<void>;
}

/** Creates a token that ends by itself after a quarter of an hour, should nobody remove it. */
export async function createShortLivedToken(api: ApiClient, now: Date): Promise<ShortLivedToken> {
  const token = generateToken(randomBytes);
  const secret = buildTokenSecret({
    token,
    description: 'For a join over SSH',
    expiresAt: new Date(now.getTime() + TTL_MS),
    usages: TOKEN_USAGES,
    groups: [DEFAULT_TOKEN_GROUP],
  });
  const path = `${formatCollectionPath(SECRETS, 'kube-system')}/${secret.metadata?.name}`;
  const remove = async () => {
    await api.requestText('DELETE', path, { timeoutMs: REMOVE_TIMEOUT_MS }).catch((error) => {
      if (!isApiError(error, 'NotFound')) throw error;
    });
  };
  try {
    await api.create(SECRETS, secret);
  } catch (error) {
    // It may be there although its answer was lost.
    if (!isApiError(error)) await remove().catch(() => {});
    throw error;
  }
  return { token, remove };
}
