/** A field of a configuration document that its program does not follow. */
export interface UnfollowedField {
  /** Dotted: "memorySwap.swapBehavior". */
  readonly path: string;
  /** Why it changes nothing, or cannot be done without. */
  readonly reason: string;
  /** Values that ask for nothing but what is done anyway; so does an empty one. */
  readonly neutral?: readonly unknown[];
  /** It protects something: the document is refused, instead of followed without it. */
  readonly isRefused?: true;
}

/** Rows for fields that have one reason; `names` are separated by white space. */
export function unfollowed(
  reason: string,
  names: string,
  more: Omit<UnfollowedField, 'path' | 'reason'> = {},
): readonly UnfollowedField[] {
  const paths = names.trim().split(/\s+/);
  return paths.map((path) => ({ path, reason, ...more }));
}

/** The rows whose fields a document sets to something of meaning. */
export function findUnfollowed(
  document: unknown,
  table: readonly UnfollowedField[],
): readonly UnfollowedField[] {
  return table.filter(({ path, neutral = [] }) => {
    const value = readPath(document, path);
    return !isEmpty(value) && !neutral.includes(value);
  });
}

function readPath(document: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((value, key) => (value as Record<string, unknown> | null | undefined)?.[key], document);
}

/** What Kubernetes' own serialisers write for fields that are not set; a flag alone may be true by default. */
function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined || value === '' || value === 0 || value === '0s') return true;
  if (typeof value !== 'object') return false;
  return Object.values(value).every((part) => part === false || part === '0' || isEmpty(part));
}
