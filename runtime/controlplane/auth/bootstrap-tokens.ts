import { createHash, timingSafeEqual } from 'node:crypto';
import { SECRETS } from '../../api/kinds.ts';
import type { ObjectReader } from '../store/reader.ts';
import type { UserInfo } from './types.ts';

const TOKEN = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;
const GROUP = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;

/** True for text in the form of a bootstrap token, "abcdef.0123456789abcdef". */
export function isBootstrapToken(token: string): boolean {
  return TOKEN.test(token);
}

/**
 * The user of a bootstrap token: Secret kube-system/bootstrap-token-ID of type bootstrap.kubernetes.io/token with
 * usage-bootstrap-authentication "true", not expired, same secret (compared in constant time).
 * @throws Error that says what is wrong with the token
 */
export function authenticateBootstrapToken(token: string, reader: ObjectReader, now: Date): UserInfo {
  const [, id = '', secretText = ''] = TOKEN.exec(token) ?? [];
  const secret = reader.get(SECRETS, `bootstrap-token-${id}`, 'kube-system');
  if (!secret || secret.metadata?.deletionTimestamp) throw new Error(`no bootstrap token "${id}"`);
  const field = (key: string) => Buffer.from(secret.data?.[key] ?? '', 'base64').toString('utf8');
  if (secret.type !== 'bootstrap.kubernetes.io/token') throw new Error(`"${id}" is no bootstrap token`);
  if (!isSameText(field('token-secret'), secretText))
    throw new Error(`bootstrap token "${id}": wrong secret`);
  if (field('token-id') !== id) throw new Error(`bootstrap token "${id}": token-id differs`);
  if (isExpired(field('expiration'), now)) throw new Error(`bootstrap token "${id}" has expired`);
  if (field('usage-bootstrap-authentication') !== 'true') {
    throw new Error(`bootstrap token "${id}" is not for authentication`);
  }
  return { name: `system:bootstrap:${id}`, groups: parseGroups(field('auth-extra-groups'), id) };
}

function isSameText(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b)) && a !== '';
}

/** An expiration that cannot be read counts as past, so that a typing error closes the door. */
function isExpired(expiration: string, now: Date): boolean {
  if (expiration === '') return false;
  const expiresMs = Date.parse(expiration);
  return Number.isNaN(expiresMs) || expiresMs <= now.getTime();
}

function parseGroups(text: string, id: string): string[] {
  const groups = text === '' ? [] : text.split(',');
  const invalid = groups.find((group) => !GROUP.test(group));
  if (invalid !== undefined) throw new Error(`bootstrap token "${id}": bad group "${invalid}"`);
  return [...new Set(['system:bootstrappers', ...groups])];
}
