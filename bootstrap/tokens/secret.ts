import type { Secret } from 'kubernetes-types/core/v1.d.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { parseToken, TOKEN_GROUP_PATTERN, TOKEN_USAGES } from './token.ts';

export interface TokenSettings {
  readonly token: string;
  readonly description?: string | undefined;
  readonly expiresAt?: Date | undefined;
  readonly usages: readonly string[];
  readonly groups: readonly string[];
}

/**
 * The Secret kube-system/bootstrap-token-ID.
 * @throws TOKEN_INVALID for a wrong token, usage or group.
 */
export function buildTokenSecret(settings: TokenSettings): Secret {
  const { id, secret } = parseToken(settings.token);
  const wrongUsage = settings.usages.find((usage) => !TOKEN_USAGES.includes(usage as 'signing'));
  if (wrongUsage)
    throw new TkadmError(
      'TOKEN_INVALID',
      `Cannot use token usage "${wrongUsage}": it is neither ${TOKEN_USAGES.join(' nor ')}`,
    );
  const wrongGroup = settings.groups.find((group) => !TOKEN_GROUP_PATTERN.test(group));
  if (wrongGroup)
    throw new TkadmError(
      'TOKEN_INVALID',
      `Cannot use token group "${wrongGroup}": it does not begin with "system:bootstrappers:"`,
    );
  const values: Record<string, string> = {
    'token-id': id,
    'token-secret': secret,
    ...(settings.description ? { description: settings.description } : {}),
    ...(settings.expiresAt ? { expiration: settings.expiresAt.toISOString().replace(/\.\d+Z$/, 'Z') } : {}),
    ...Object.fromEntries(settings.usages.map((usage) => [`usage-bootstrap-${usage}`, 'true'])),
    ...(settings.groups.length > 0 && settings.usages.includes('authentication')
      ? { 'auth-extra-groups': settings.groups.join(',') }
      : {}),
  };
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: `bootstrap-token-${id}`, namespace: 'kube-system' },
    type: 'bootstrap.kubernetes.io/token',
    data: Object.fromEntries(
      Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
    ),
  };
}

/** What `token list` shows; the secret half is part of `token`. */
export interface TokenInfo {
  readonly token: string;
  readonly expires: string | undefined;
  readonly usages: readonly string[];
  readonly description: string;
  readonly groups: readonly string[];
}

/** Reads a token Secret; undefined for one that is none. */
export function readTokenSecret(secret: Secret): TokenInfo | undefined {
  const value = (key: string) => {
    const data = secret.data?.[key];
    return data === undefined ? undefined : Buffer.from(data, 'base64').toString('utf8');
  };
  const id = value('token-id');
  const tokenSecret = value('token-secret');
  if (secret.type !== 'bootstrap.kubernetes.io/token' || !id || !tokenSecret) return undefined;
  return {
    token: `${id}.${tokenSecret}`,
    expires: value('expiration'),
    usages: TOKEN_USAGES.filter((usage) => value(`usage-bootstrap-${usage}`) === 'true'),
    description: value('description') ?? '',
    groups: value('auth-extra-groups')?.split(',') ?? [],
  };
}
