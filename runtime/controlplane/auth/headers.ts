import type { AuthenticationInput } from './types.ts';

/**
 * Every value of a header, in order. Without `rawHeaders` a repeated header has been joined by Node.js and comes
 * back as one value: nothing that a client put into a value can then be taken for a second one.
 */
export function headerValues(
  input: Pick<AuthenticationInput, 'headers' | 'rawHeaders'>,
  name: string,
): string[] {
  const wanted = name.toLowerCase();
  if (input.rawHeaders) {
    const values: string[] = [];
    for (let i = 0; i + 1 < input.rawHeaders.length; i += 2) {
      if (input.rawHeaders[i]!.toLowerCase() === wanted) values.push(input.rawHeaders[i + 1]!);
    }
    return values;
  }
  const value = input.headers[wanted];
  if (value === undefined) return [];
  return typeof value === 'string' ? [value] : value;
}

/** The first value of a header, or "". */
export function headerValue(
  input: Pick<AuthenticationInput, 'headers' | 'rawHeaders'>,
  name: string,
): string {
  return headerValues(input, name)[0] ?? '';
}

/**
 * Headers that share a prefix, by the rest of their name in lower case and percent-decoded:
 * `Impersonate-Extra-example.org%2Froles: a` → { "example.org/roles": ["a"] }.
 */
export function headersWithPrefix(
  input: Pick<AuthenticationInput, 'headers' | 'rawHeaders'>,
  prefix: string,
): Record<string, string[]> {
  const start = prefix.toLowerCase();
  const found: Record<string, string[]> = {};
  for (const name of Object.keys(input.headers)) {
    if (!name.startsWith(start) || name.length === start.length) continue;
    found[percentDecode(name.slice(start.length))] = headerValues(input, name);
  }
  return found;
}

function percentDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
