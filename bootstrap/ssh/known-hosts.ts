import { createHash, createHmac } from 'node:crypto';

/** One line of known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). */
export interface KnownHost {
  readonly patterns: readonly string[];
  readonly isRevoked: boolean;
  readonly keyType: string;
  /** The public key blob. */
  readonly key: Buffer;
}

export type HostKeyVerdict = 'known' | 'unknown' | 'changed' | 'revoked';

/** Parses known_hosts text; lines that are no key (comments, certificate authorities) are left out. */
export function parseKnownHosts(text: string): readonly KnownHost[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const marker = fields[0]?.startsWith('@') ? fields.shift() : undefined;
    const [hosts, keyType, key] = fields;
    if (!hosts || !keyType || !key || hosts.startsWith('#') || marker === '@cert-authority') return [];
    return [
      {
        patterns: hosts.split(','),
        isRevoked: marker === '@revoked',
        keyType,
        key: Buffer.from(key, 'base64'),
      },
    ];
  });
}

/** The name under which known_hosts holds a host: "host", or "[host]:port" off the default port. */
export function formatKnownHostName(host: string, port: number): string {
  return port === 22 ? host : `[${host}]:${port}`;
}

/** The entries for a host, hashed names (`|1|salt|HMAC-SHA1`) and wildcards included. */
export function selectKnownHosts(entries: readonly KnownHost[], name: string): readonly KnownHost[] {
  return entries.filter((entry) => {
    const negated = entry.patterns.some(
      (pattern) => pattern.startsWith('!') && matches(pattern.slice(1), name),
    );
    return !negated && entry.patterns.some((pattern) => matches(pattern, name));
  });
}

/** What known_hosts says of the key that a host presents. A new key type beside a known other one is "changed". */
export function judgeHostKey(entries: readonly KnownHost[], name: string, key: Buffer): HostKeyVerdict {
  const known = selectKnownHosts(entries, name);
  if (known.some((entry) => entry.isRevoked && entry.key.equals(key))) return 'revoked';
  if (known.some((entry) => !entry.isRevoked && entry.key.equals(key))) return 'known';
  return known.some((entry) => !entry.isRevoked) ? 'changed' : 'unknown';
}

/** "SHA256:base64" as ssh prints it. */
export function formatFingerprint(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}

/** The algorithm name at the head of a public key blob (RFC 4253 §6.6). */
export function keyTypeOf(key: Buffer): string {
  return key.subarray(4, 4 + key.readUInt32BE(0)).toString('ascii');
}

function matches(pattern: string, name: string): boolean {
  if (pattern.startsWith('|1|')) {
    const [, , salt = '', hash = ''] = pattern.split('|');
    return createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest('base64') === hash;
  }
  return matchesPattern(pattern, name);
}

/** A pattern of ssh_config(5) PATTERNS: `*` stands for any characters, `?` for one; case does not count. */
export function matchesPattern(pattern: string, name: string): boolean {
  const expression = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*/g, '.*')
    .replace(/\?/g, '.');
  return new RegExp(`^${expression}$`, 'is').test(name);
}
