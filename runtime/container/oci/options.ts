import { TkadmError } from '../../base/errors.ts';

/** A flag of a command, in runc's words. */
export interface OptionRow {
  readonly name: string;
  readonly short?: string;
  /** `switch` takes no value; `list` may be given several times. */
  readonly kind: 'switch' | 'value' | 'list';
  readonly help: string;
  /** Why it is refused, for what runc has and this program has not. */
  readonly refused?: string;
}

export interface ParsedOptions {
  /** The values of each flag that was given; [] for a switch. */
  readonly given: ReadonlyMap<string, readonly string[]>;
  /** What comes behind the flags. */
  readonly args: readonly string[];
}

/**
 * Parses the flags before the first argument that is none.
 * @throws FLAG_UNKNOWN, FLAG_INVALID; UNSUPPORTED for one that is refused
 */
export function parseOptions(
  rows: readonly OptionRow[],
  argv: readonly string[],
  command: string,
): ParsedOptions {
  const given = new Map<string, string[]>();
  let index = 0;
  for (; index < argv.length; index += 1) {
    const text = argv[index]!;
    if (text === '--') return { given, args: argv.slice(index + 1) };
    const match = /^--?([a-z0-9][a-z0-9-]*)(?:=([\s\S]*))?$/.exec(text);
    if (match === null) break;
    const row = rows.find(({ name, short }) => name === match[1] || short === match[1]);
    if (row === undefined) {
      throw new TkadmError('FLAG_UNKNOWN', `Cannot use "${text}": "${command}" has no such flag`, {
        hint: `See "${command} --help"`,
      });
    }
    const values = given.get(row.name) ?? [];
    if (row.kind === 'switch') {
      if (!isOn(row, match[2])) continue;
    } else {
      if (match[2] === undefined) index += 1;
      const value = match[2] ?? argv[index];
      if (value === undefined)
        throw new TkadmError('FLAG_INVALID', `Cannot use "${text}": the value is missing`);
      values.push(value);
    }
    if (row.refused !== undefined)
      throw new TkadmError('UNSUPPORTED', `Cannot use "${text}": ${row.refused}`);
    given.set(row.name, values);
  }
  return { given, args: argv.slice(index) };
}

function isOn({ name }: OptionRow, value: string | undefined): boolean {
  if (value === undefined || value === 'true') return true;
  if (value === 'false') return false;
  throw new TkadmError(
    'FLAG_INVALID',
    `Cannot use "--${name}=${value}": the value is neither true nor false`,
  );
}

/** The flags as `--help` shows them. */
export function formatOptions(rows: readonly OptionRow[]): string {
  const lines = rows.map(({ name, short, kind, help, refused }) => {
    const flag = `--${name}${kind === 'switch' ? '' : ' VALUE'}${short === undefined ? '' : `, -${short}`}`;
    return `  ${flag.padEnd(28)} ${refused === undefined ? help : `not supported: ${refused}`}`;
  });
  return lines.join('\n');
}
