const SAFE_ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';

/** 32-bit FNV-1a of the text's UTF-8 bytes. */
function fnv32a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return hash >>> 0;
}

/** A number as upstream's hash labels have it: decimal digits in an alphabet without vowels. */
function encodeSafe(value: number): string {
  return [...String(value)]
    .map((digit) => SAFE_ALPHABET[digit.charCodeAt(0) % SAFE_ALPHABET.length])
    .join('');
}

/** The label value for a template: stable over key order; `collisions` makes it another one. */
export function hashTemplate(template: unknown, collisions: number | undefined): string {
  const suffix = collisions === undefined ? '' : `#${collisions}`;
  return encodeSafe(fnv32a(formatCanonical(template) + suffix));
}

/** JSON with sorted keys, without absent values. */
function formatCanonical(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(formatCanonical).join(',')}]`;
  const entries = Object.entries(value)
    .filter(([, entry]) => entry !== undefined && entry !== null)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, entry]) => `${JSON.stringify(key)}:${formatCanonical(entry)}`);
  return `{${entries.join(',')}}`;
}

/** `length` characters of upstream's name alphabet, from a source of bytes. */
export function formatRandomSuffix(bytes: Uint8Array): string {
  return [...bytes].map((byte) => SAFE_ALPHABET[byte % SAFE_ALPHABET.length]).join('');
}
