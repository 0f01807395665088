/** Position in a JSON text that parses, and what was found on the way. */
interface Scan {
  readonly text: string;
  readonly found: string[];
  at: number;
}

const SPACE = /[\s,:]/;

function skipSpace(scan: Scan): void {
  while (scan.at < scan.text.length && SPACE.test(scan.text[scan.at]!)) scan.at += 1;
}

function scanString(scan: Scan): string {
  const start = scan.at;
  scan.at += 1;
  while (scan.text[scan.at] !== '"') scan.at += scan.text[scan.at] === '\\' ? 2 : 1;
  scan.at += 1;
  const raw = scan.text.slice(start + 1, scan.at - 1);
  return raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
}

function scanObject(scan: Scan, path: string): void {
  const seen = new Set<string>();
  scan.at += 1;
  for (skipSpace(scan); scan.text[scan.at] !== '}'; skipSpace(scan)) {
    const key = scanString(scan);
    const own = path === '' ? key : `${path}.${key}`;
    if (seen.has(key) && !scan.found.includes(own)) scan.found.push(own);
    seen.add(key);
    scanValue(scan, own);
  }
  scan.at += 1;
}

function scanArray(scan: Scan, path: string): void {
  scan.at += 1;
  let index = 0;
  for (skipSpace(scan); scan.text[scan.at] !== ']'; skipSpace(scan)) {
    scanValue(scan, `${path}[${index}]`);
    index += 1;
  }
  scan.at += 1;
}

const LITERAL = /[^\s,\]}]*/y;

function skipLiteral(scan: Scan): void {
  LITERAL.lastIndex = scan.at;
  LITERAL.exec(scan.text);
  scan.at = LITERAL.lastIndex;
}

function scanValue(scan: Scan, path: string): void {
  skipSpace(scan);
  const first = scan.text[scan.at];
  if (first === '{') scanObject(scan, path);
  else if (first === '[') scanArray(scan, path);
  else if (first === '"') scanString(scan);
  else skipLiteral(scan);
}

/** Paths of the keys that stand twice in an object of this JSON text, which must parse. */
export function findDuplicateFields(text: string): string[] {
  const scan: Scan = { text, found: [], at: 0 };
  scanValue(scan, '');
  return scan.found;
}
