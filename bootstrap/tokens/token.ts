import { TkadmError } from '../../runtime/base/errors.ts';

/** A bootstrap token's public and secret half. */
export interface BootstrapToken {
  /** Six characters; names the Secret and the user. */
  readonly id: string;
  /** Sixteen characters. */
  readonly secret: string;
}

const TOKEN_PATTERN = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;
const ID_PATTERN = /^[a-z0-9]{6}$/;

/** Groups that a bootstrap token's user may be in. */
export const TOKEN_GROUP_PATTERN = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;

/** What a bootstrap token may be used for. */
export const TOKEN_USAGES = ['signing', 'authentication'] as const;

/** True for the form "abcdef.0123456789abcdef". */
export function isToken(text: string): boolean {
  return TOKEN_PATTERN.test(text);
}

/**
 * "abcdef.0123456789abcdef" → its halves.
 * @throws TOKEN_INVALID without the text, which is a secret.
 */
export function parseToken(text: string): BootstrapToken {
  const match = TOKEN_PATTERN.exec(text);
  if (match) return { id: match[1]!, secret: match[2]! };
  throw new TkadmError(
    'TOKEN_INVALID',
    'Cannot read the bootstrap token: it has not the form "abcdef.0123456789abcdef" ([a-z0-9]{6}.[a-z0-9]{16})',
    { hint: 'Print a fresh join command on a control-plane node: tkadm token create --print-join-command' },
  );
}

/** The id of a token given in full or by its id. @throws TOKEN_INVALID */
export function parseTokenId(text: string): string {
  return ID_PATTERN.test(text) ? text : parseToken(text).id;
}

/** "abcdef.0123456789abcdef" */
export function formatToken({ id, secret }: BootstrapToken): string {
  return `${id}.${secret}`;
}
