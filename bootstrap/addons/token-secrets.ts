import type { KubeObject } from '../../runtime/api/kinds.ts';
import { parseDuration } from '../../runtime/base/flags.ts';
import type { BootstrapTokenConfig } from '../config/types.ts';
import { buildTokenSecret } from '../tokens/token.ts';

/** The Secret of each bootstrap token of the configuration. @throws TOKEN_INVALID */
export function buildTokenSecrets(tokens: readonly BootstrapTokenConfig[], now: Date): readonly KubeObject[] {
  return tokens.map((token) =>
    buildTokenSecret({
      token: token.token,
      description: token.description,
      expiresAt: tokenExpiry(token, now),
      usages: token.usages,
      groups: token.groups,
    }),
  );
}

/** When a token ends; undefined: never. */
export function tokenExpiry(
  token: Pick<BootstrapTokenConfig, 'ttl' | 'expires'>,
  now: Date,
): Date | undefined {
  if (token.expires !== undefined) return new Date(token.expires);
  const ttlMs = token.ttl === undefined ? 0 : parseDuration(token.ttl);
  return ttlMs === 0 ? undefined : new Date(now.getTime() + ttlMs);
}
