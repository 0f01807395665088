import { TkadmError } from '../../runtime/base/errors.ts';

type TemplateFunction = (...values: readonly unknown[]) => unknown;

/** The functions of templates: Go's own that are common, and Docker's. */
const FUNCTIONS: Readonly<Record<string, TemplateFunction>> = {
  json: (value) => JSON.stringify(value ?? null),
  index: (value, ...keys) => keys.reduce(readIndex, value),
  len: (value) => {
    if (typeof value === 'string' || Array.isArray(value)) return value.length;
    return Object.keys((value ?? {}) as object).length;
  },
  upper: (text) => formatValue(text).toUpperCase(),
  lower: (text) => formatValue(text).toLowerCase(),
  title: (text) => formatValue(text).replace(/\b\w/g, (letter) => letter.toUpperCase()),
  join: (list, separator) =>
    ((list ?? []) as readonly unknown[]).map(formatValue).join(formatValue(separator)),
  split: (text, separator) => formatValue(text).split(formatValue(separator)),
  truncate: (text, length) => formatValue(text).slice(0, Number(length)),
  print: (...values) => values.map(formatValue).join(''),
  printf: (format, ...values) => formatPrintf(formatValue(format), values),
  slice: (value, from = 0, to) =>
    (value as string | readonly unknown[]).slice(Number(from), to as number | undefined),
  pad: (text, before, after) =>
    `${' '.repeat(Number(before))}${formatValue(text)}${' '.repeat(Number(after))}`,
  println: (...values) => `${values.map(formatValue).join(' ')}\n`,
  eq: (first, ...others) => others.some((other) => other === first),
  ne: (a, b) => a !== b,
  lt: (a, b) => (a as number) < (b as number),
  gt: (a, b) => (a as number) > (b as number),
  le: (a, b) => (a as number) <= (b as number),
  ge: (a, b) => (a as number) >= (b as number),
  not: (value) => !isTrue(value),
  and: (...values) => values.find((value) => !isTrue(value)) ?? values.at(-1),
  or: (...values) => values.find(isTrue) ?? values.at(-1),
};

/** @throws USAGE for a function that is not supported. */
export function callFunction(name: string, values: readonly unknown[]): unknown {
  if (Object.hasOwn(FUNCTIONS, name)) return FUNCTIONS[name]!(...values);
  throw new TkadmError('USAGE', `Cannot use function "${name}" in a template: it is not supported`, {
    hint: `There are ${Object.keys(FUNCTIONS).join(', ')}`,
  });
}

/** What counts as true in a template: anything but false, 0, "", nothing and what is empty. */
export function isTrue(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0;
  return Boolean(value);
}

/** A value as Go's %v shows it: lists as "[a b]", maps as "map[a:1]". */
export function formatValue(value: unknown): string {
  if (value === undefined) return '<no value>';
  if (value === null) return '<nil>';
  if (Array.isArray(value)) return `[${value.map(formatValue).join(' ')}]`;
  if (typeof value !== 'object') return String(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `map[${entries.map(([key, item]) => `${key}:${formatValue(item)}`).join(' ')}]`;
}

/** What a verb of Go's fmt makes of a value. */
const VERBS: Readonly<Record<string, (value: unknown, precision: number | undefined) => string>> = {
  s: (value, length) => formatValue(value).slice(0, length),
  v: (value) => formatValue(value),
  q: (value) => JSON.stringify(formatValue(value)),
  d: (value) => formatValue(value),
  t: (value) => formatValue(value),
  x: (value) => Number(value).toString(16),
  f: (value, digits = 6) => Number(value).toFixed(digits),
};

/** "%-10s|%.12s|%05d": flags "-" and "0", a width, a precision and the verbs of VERBS. @throws USAGE */
function formatPrintf(format: string, values: readonly unknown[]): string {
  const rest = [...values];
  return format.replace(
    /%([-0]*)(\d*)(?:\.(\d+))?([a-zA-Z%])/g,
    (all, flags: string, width, precision, verb) => {
      if (verb === '%') return '%';
      const write = VERBS[verb];
      if (write === undefined || rest.length === 0) {
        throw new TkadmError(
          'USAGE',
          `Cannot use "${all}" in a template: it has no value, or is not supported`,
        );
      }
      const text = write(rest.shift(), precision === undefined ? undefined : Number(precision));
      if (flags.includes('-')) return text.padEnd(Number(width));
      return text.padStart(Number(width), flags.includes('0') ? '0' : ' ');
    },
  );
}

function readIndex(value: unknown, key: unknown): unknown {
  if (value === null || value === undefined) return undefined;
  if (Array.isArray(value)) {
    if (Number(key) in value) return value[Number(key)];
    throw new TkadmError('USAGE', `Cannot take element ${formatValue(key)}: there are ${value.length}`);
  }
  return Reflect.get(value as object, formatValue(key));
}
