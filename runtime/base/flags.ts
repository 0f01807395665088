import { TkadmError } from './errors.ts';

/** How a flag's text becomes a value; `list` splits at commas and may be repeated. */
export type FlagKind = 'string' | 'boolean' | 'number' | 'list' | 'duration';

export interface FlagRow {
  readonly name: string;
  readonly kind: FlagKind;
  readonly default?: string | number | boolean | readonly string[];
  readonly help: string;
}

type FlagValue<K extends FlagKind> = K extends 'string'
  ? string
  : K extends 'boolean'
    ? boolean
    : K extends 'list'
      ? readonly string[]
      : number;

/** The parsed flags of a table: a flag without a default may be undefined; durations are milliseconds. */
export type FlagValues<T extends readonly FlagRow[]> = {
  readonly [R in T[number] as R['name']]: R extends { readonly default: unknown }
    ? FlagValue<R['kind']>
    : FlagValue<R['kind']> | undefined;
};

/**
 * Parses a component's argv (`--name=value`, `--name value`, `--boolean`) by its table.
 * @throws FLAG_UNKNOWN naming a flag that the component does not have.
 * @throws FLAG_INVALID when a value does not fit the flag's kind.
 */
export function parseFlags<const T extends readonly FlagRow[]>(
  table: T,
  argv: readonly string[],
): FlagValues<T> {
  const values: Record<string, unknown> = {};
  for (const row of table) values[row.name] = row.default;
  const seenLists = new Set<string>();
  for (let i = 0; i < argv.length; i += 1) {
    const argument = argv[i]!;
    const match = /^--?([a-zA-Z][\w.-]*)(?:=([\s\S]*))?$/.exec(argument);
    const row = match ? table.find((candidate) => candidate.name === match[1]) : undefined;
    if (!match || !row) {
      throw new TkadmError(
        'FLAG_UNKNOWN',
        `Cannot use flag "${argument}": this component does not support it`,
      );
    }
    let text = match[2];
    if (text === undefined && row.kind !== 'boolean') {
      i += 1;
      text = argv[i];
    }
    const value = parseFlag(row, text);
    if (row.kind === 'list' && seenLists.has(row.name)) {
      values[row.name] = [...(values[row.name] as readonly string[]), ...(value as readonly string[])];
    } else values[row.name] = value;
    seenLists.add(row.name);
  }
  return values as FlagValues<T>;
}

/**
 * Parses a Go duration, "1h30m", "250ms", "0": milliseconds.
 * @throws FLAG_INVALID when the text is no duration.
 */
export function parseDuration(text: string): number {
  if (text === '0') return 0;
  const units: Readonly<Record<string, number>> = {
    ns: 1e-6,
    us: 1e-3,
    µs: 1e-3,
    ms: 1,
    s: 1e3,
    m: 6e4,
    h: 36e5,
  };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?|\.\d+)(ns|us|\u00b5s|ms|s|m|h)/g)];
  const negative = text.startsWith('-');
  if (parts.length === 0 || parts.map((part) => part[0]).join('') !== text.replace(/^[-+]/, '')) {
    throw new TkadmError(
      'FLAG_INVALID',
      `Cannot read duration "${text}": write it like "10s", "5m" or "1h30m"`,
    );
  }
  const total = parts.reduce((sum, part) => sum + Number(part[1]) * units[part[2]!]!, 0);
  return negative ? -total : total;
}

function parseFlag(row: FlagRow, text: string | undefined): unknown {
  const fail = (state: string) =>
    new TkadmError('FLAG_INVALID', `Cannot use flag "--${row.name}=${text ?? ''}": ${state}`);
  if (row.kind === 'boolean') {
    if (text === undefined || text === 'true') return true;
    if (text === 'false') return false;
    throw fail('the value is neither true nor false');
  }
  if (text === undefined) throw fail('the value is missing');
  if (row.kind === 'string') return text;
  if (row.kind === 'list') return text === '' ? [] : text.split(',');
  if (row.kind === 'duration') return parseDuration(text);
  const value = Number(text);
  if (text === '' || !Number.isFinite(value)) throw fail('the value is no number');
  return value;
}

const SIZE_UNITS: Readonly<Record<string, number>> = { '': 0, b: 0, k: 1, m: 2, g: 3, t: 4, p: 5 };

/** Bytes of "100m", "1g", "4096" or "1.5gb", by powers of 1024, as docker and runc take them; else undefined. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([bkmgtp]?)i?b?$/i.exec(text);
  if (match === null) return undefined;
  return Math.floor(Number(match[1]) * 1024 ** SIZE_UNITS[(match[2] ?? '').toLowerCase()]!);
}
