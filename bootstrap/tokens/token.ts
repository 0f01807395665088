import type { Secret } from 'kubernetes-types/core/v1.d.ts';
import { TkadmError } from '../../runtime/base/errors.ts';

/** Parts of a bootstrap token "id.secret". */
export interface BootstrapToken {
  readonly id: string;
  readonly secret: string;
}

const TOKEN = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;
/** Groups that a bootstrap token's user may be in. */
export const TOKEN_GROUP_PATTERN = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** What a bootstrap token may be used for. */
export const TOKEN_USAGES: readonly string[] = ['signing', 'authentication'];

/** The group whose members may join as nodes. */
export const DEFAULT_TOKEN_GROUP = 'system:bootstrappers:kubeadm:default-node-token';

/** @throws TOKEN_INVALID; the message does not repeat the text, which may be a secret. */
export function parseToken(text: string): BootstrapToken {
  const match = TOKEN.exec(text);
  if (!match) {
    throw new TkadmError(
      'TOKEN_INVALID',
      'Cannot use the token: it is not of the form "abcdef.0123456789abcdef"',
      {
        hint: 'tkadm token list',
      },
    );
  }
  return { id: match[1]!, secret: match[2]! };
}

/** True for the form "abcdef.0123456789abcdef". */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/** The id of a token given in full or by its id. @throws TOKEN_INVALID */
export function parseTokenId(text: string): string {
  return /^[a-z0-9]{6}$/.test(text) ? text : parseToken(text).id;
}

/** A new token; `randomBytes(n)` gives n random bytes. */
export function generateToken(randomBytes: (count: number) => Uint8Array): string {
  const pick = (count: number): string => {
    let text = '';
    // Bytes above the last multiple of 36 are dropped, so that every character is as likely as the others.
    while (text.length < count)
      for (const byte of randomBytes(count))
        if (byte < 252 && text.length < count) text += ALPHABET[byte % 36];
    return text;
  };
  return `${pick(6)}.${pick(16)}`;
}

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
  const wrongUsage = settings.usages.find((usage) => !TOKEN_USAGES.includes(usage));
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
