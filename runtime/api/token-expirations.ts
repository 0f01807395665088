/**
 * Annotation of kube-public/cluster-info in which the bootstrap signer says when each token that it signs for
 * ends: `{"abcdef":"2026-01-02T03:04:05Z"}`. A token's Secret goes when it expires; this stays for a while, so
 * that a join with an old token can be told since when it is invalid.
 */
export const TOKEN_EXPIRATIONS_ANNOTATION = 'tkadm.io/token-expirations';

/** How long the end of a token is remembered. */
const MEMORY_MS = 30 * 24 * 3_600_000;
const MEMORY_ENTRIES = 100;

/** Ends of tokens by token id, RFC 3339. */
export type TokenExpirations = Readonly<Record<string, string>>;

/** The ends of tokens that an object with the annotation tells; {} when it has none, or one that is not ours. */
export function readTokenExpirations(object: {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> };
}): TokenExpirations {
  try {
    const value: unknown = JSON.parse(object.metadata?.annotations?.[TOKEN_EXPIRATIONS_ANNOTATION] ?? '{}');
    const entries = Object.entries((value ?? {}) as object).filter(
      ([id, end]) => /^[a-z0-9]{6}$/.test(id) && !Number.isNaN(Date.parse(String(end))),
    );
    return Object.fromEntries(entries.map(([id, end]) => [id, String(end)]));
  } catch {
    return {};
  }
}

/**
 * The ends to be remembered next: those of the present tokens, and those that have passed. A token that was
 * deleted before its end is forgotten.
 */
export function updateTokenExpirations(
  known: TokenExpirations,
  present: TokenExpirations,
  now: Date,
): TokenExpirations {
  const past = Object.entries(known).filter(([id, end]) => {
    const ageMs = now.getTime() - Date.parse(end);
    return !Object.hasOwn(present, id) && ageMs >= 0 && ageMs < MEMORY_MS;
  });
  const newest = past.sort(([, a], [, b]) => Date.parse(b) - Date.parse(a)).slice(0, MEMORY_ENTRIES);
  return Object.fromEntries([...newest, ...Object.entries(present)].sort(([a], [b]) => (a < b ? -1 : 1)));
}
