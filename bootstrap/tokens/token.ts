import type { Secret } from 'kubernetes-types/core/v1.d.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { parseDuration } from '../../runtime/base/flags.ts';

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
      'Cannot use the token: it is not of the form "abcdef.0123456789abcdef" ([a-z0-9]{6}.[a-z0-9]{16})',
      { hint: 'tkadm token list, on the control plane' },
    );
  }
  return { id: match[1]!, secret: match[2]! };
}

/** True for the form "abcdef.0123456789abcdef". */
export function isToken(text: string): boolean {
  return TOKEN.test(text);
}

/**
 * Checks the life of a token, a Go duration; "0" is for ever.
 * @throws FLAG_INVALID, TOKEN_INVALID
 */
export function parseTtl(text: string): string {
  const ms = parseDuration(text);
  if (ms === 0 || ms >= 1_000) return text;
  throw new TkadmError(
    'TOKEN_INVALID',
    `Cannot use token ttl "${text}": it is ${ms < 0 ? 'negative' : 'shorter than a second'}`,
    { hint: 'Write it like "24h", or "0" for a token that never ends' },
  );
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
  checkPurpose(settings);
  const values: Record<string, string> = {
    'token-id': id,
    'token-secret': secret,
    ...(settings.description ? { description: settings.description } : {}),
    ...(settings.expiresAt ? { expiration: settings.expiresAt.toISOString().replace(/\.\d+Z$/, 'Z') } : {}),
    ...Object.fromEntries(settings.usages.map((usage) => [`usage-bootstrap-${usage}`, 'true'])),
    ...(settings.groups.length > 0 ? { 'auth-extra-groups': settings.groups.join(',') } : {}),
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

/** @throws TOKEN_INVALID for a wrong usage or group, and for groups of a token that nobody logs in with */
function checkPurpose({ usages, groups }: Pick<TokenSettings, 'usages' | 'groups'>): void {
  const fail = (message: string) =>
    new TkadmError('TOKEN_INVALID', message, { hint: 'tkadm token create --help' });
  const usage = usages.find((text) => !TOKEN_USAGES.includes(text));
  if (usage !== undefined)
    throw fail(`Cannot use token usage "${usage}": it is neither ${TOKEN_USAGES.join(' nor ')}`);
  const group = groups.find((text) => !TOKEN_GROUP_PATTERN.test(text));
  if (group !== undefined)
    throw fail(`Cannot use token group "${group}": it does not match ${TOKEN_GROUP_PATTERN.source}`);
  if (groups.length > 0 && !usages.includes('authentication'))
    throw fail('Cannot use token groups without the usage "authentication": nobody logs in with the token');
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
    groups: value('auth-extra-groups')?.split(',').filter(Boolean) ?? [],
  };
}
