import { DEFAULT_TOKEN_GROUP, TOKEN_USAGES, type TokenInfo } from './token.ts';

/** What is left of a token's life at least for it to be handed out: a join takes a person some time. */
const MIN_LEFT_MS = 60 * 60_000;

/** What a token may be used for; the defaults are those of a token for joining nodes. */
export interface TokenPurpose {
  readonly usages: readonly string[];
  readonly groups: readonly string[];
}

const JOIN: TokenPurpose = { usages: TOKEN_USAGES, groups: [DEFAULT_TOKEN_GROUP] };

/** True for a token of the cluster that serves a purpose and does so for another hour. */
export function isUsableToken(token: TokenInfo, now: Date, { usages, groups }: TokenPurpose = JOIN): boolean {
  const isLasting = token.expires === undefined || Date.parse(token.expires) - now.getTime() >= MIN_LEFT_MS;
  return (
    isLasting &&
    usages.every((usage) => token.usages.includes(usage)) &&
    groups.every((group) => token.groups.includes(group))
  );
}
