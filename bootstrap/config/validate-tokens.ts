import { parseDuration } from '../../runtime/base/flags.ts';
import { isToken, TOKEN_GROUP_PATTERN, TOKEN_USAGES } from '../tokens/token.ts';
import type { Checker } from './problems.ts';
import { checkOneOf } from './rules.ts';
import type { BootstrapTokenConfig } from './types.ts';

/** Checks the bootstrap tokens that init creates. */
export function validateTokens(tokens: readonly BootstrapTokenConfig[], check: Checker): void {
  for (const [i, token] of tokens.entries()) {
    const path = `bootstrapTokens[${i}]`;
    validateToken(token, path, check);
    const id = token.token.split('.')[0];
    if (tokens.findIndex((other) => other.token.split('.')[0] === id) < i) {
      check.invalid(`${path}.token`, undefined, 'another token has the same first part, which is its id');
    }
  }
}

function validateToken(token: BootstrapTokenConfig, path: string, check: Checker): void {
  validateTokenText(token.token, `${path}.token`, check, 'tkadm token generate');
  for (const [i, usage] of token.usages.entries()) {
    checkOneOf(check, `${path}.usages[${i}]`, usage, TOKEN_USAGES);
  }
  for (const [i, group] of token.groups.entries()) {
    if (!TOKEN_GROUP_PATTERN.test(group)) {
      check.invalid(`${path}.groups[${i}]`, group, `it must match ${TOKEN_GROUP_PATTERN.source}`);
    }
  }
  if (token.groups.length > 0 && !token.usages.includes('authentication')) {
    check.invalid(`${path}.groups`, token.groups, 'groups need the usage "authentication"');
  }
  if (token.ttl !== undefined && token.expires !== undefined) {
    check.invalid(`${path}.ttl`, token.ttl, '"ttl" and "expires" exclude each other');
  }
  if (token.ttl !== undefined && !isLifetime(token.ttl)) {
    check.invalid(`${path}.ttl`, token.ttl, 'write a duration like "24h"; "0s" means for ever');
  }
  if (token.expires !== undefined && !isTime(token.expires)) {
    check.invalid(`${path}.expires`, token.expires, 'write it like "2026-12-31T23:59:59Z"');
  }
}

/** A token that a node shows; never shown itself, as it is a secret. */
export function validateTokenText(text: string, path: string, check: Checker, hint: string): void {
  if (text === '') check.required(path, 'a token of the form "id.secret", [a-z0-9]{6}.[a-z0-9]{16}', hint);
  else if (!isToken(text)) {
    check.invalid(path, undefined, 'it has not the form "id.secret", [a-z0-9]{6}.[a-z0-9]{16}', hint);
  }
}

/** A flag's text has passed no schema. */
function isLifetime(text: string): boolean {
  try {
    return parseDuration(text) >= 0;
  } catch {
    return false;
  }
}

/** RFC 3339 §5.6 */
function isTime(text: string): boolean {
  return (
    /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[-+]\d\d:\d\d)$/.test(text) &&
    !Number.isNaN(Date.parse(text))
  );
}
