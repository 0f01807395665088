import { formatError, TkadmError } from '../../../runtime/base/errors.ts';
import { parseTemplate, type Template } from '../../render/go-template.ts';
import { formatTable } from '../../render/table.ts';
import type { CliContext } from '../context.ts';

/** One thing of a list: the fields that templates name. */
export type Row = Readonly<Record<string, string>>;

/** A column: its header and its field. */
export type Column = readonly [header: string, field: string];

export interface ListFlags {
  readonly format?: string;
  readonly quiet?: boolean;
}

export interface Listing extends ListFlags {
  readonly rows: readonly Row[];
  /** The columns without --format. */
  readonly columns: readonly Column[];
  /** Headers of further fields, for `table` templates. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What --quiet shows. */
  readonly idField: string;
  /** Fields of each row that no column has. */
  readonly otherFields?: readonly string[];
}

/** Prints a list as docker does: a table, ids, JSON lines, or by a template ("table ..." with headers). */
export function printRows(context: CliContext, listing: Listing): void {
  const { rows, columns, format, quiet, idField } = listing;
  if (quiet && format === undefined) {
    context.write(rows.map((row) => `${row[idField]}\n`).join(''));
    return;
  }
  if (format === undefined || format === 'table') {
    const body = rows.map((row) => columns.map(([, field]) => row[field] ?? ''));
    context.write(formatTable([columns.map(([header]) => header), ...body]));
    return;
  }
  if (format === 'json' || format === '{{json .}}') {
    context.write(rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return;
  }
  const isTable = format.startsWith('table ');
  const template = parseTemplate(unescapeText(isTable ? format.slice('table '.length) : format));
  if (rows.length === 0) requireFields(template, listing);
  const lines = rows.map((row) => template(row));
  if (!isTable) {
    context.write(lines.map((line) => `${line}\n`).join(''));
    return;
  }
  const headers = {
    ...listing.headers,
    ...Object.fromEntries(columns.map(([header, field]) => [field, header])),
  };
  const head = template(new Proxy({}, { has: () => true, ...headerTraps(headers) }));
  context.write(formatTable([head, ...lines].map((line) => line.split('\t'))));
}

/** A wrong field is wrong without rows as well. @throws USAGE */
function requireFields(template: Template, { columns, otherFields = [] }: Listing): void {
  const fields = [...columns.map(([, field]) => field), ...otherFields];
  try {
    template(Object.fromEntries(fields.map((field) => [field, ''])));
  } catch (error) {
    // What a function says of an empty text is no matter of the template.
    if (formatError(error).includes('there is no field')) throw error;
  }
}

/** Fields give their headers; those that have none their own names. */
function headerTraps(headers: Row): ProxyHandler<object> {
  const header = (field: string) =>
    headers[field] ?? field.replace(/(?<=[a-z])(?=[A-Z])/g, ' ').toUpperCase();
  return {
    get: (_target, field) => header(String(field)),
    getOwnPropertyDescriptor: (_target, field) => ({
      configurable: true,
      enumerable: true,
      value: header(String(field)),
    }),
  };
}

/** "\t" and "\n" as a shell hands them on. */
function unescapeText(text: string): string {
  return text.replaceAll('\\t', '\t').replaceAll('\\n', '\n');
}

/** What a filter's value is compared with: true when the thing is to be shown. */
export type FilterTable<T> = Readonly<Record<string, (item: T, value: string) => boolean>>;

/**
 * Keeps what fits all filters "name=value"; several values of one name are alternatives, but those of labels.
 * @throws USAGE for a filter that is not supported.
 */
export function applyFilters<T>(
  items: readonly T[],
  table: FilterTable<T>,
  filters: readonly string[] = [],
): T[] {
  const byName = new Map<string, string[]>();
  for (const filter of filters) {
    const at = filter.indexOf('=');
    const name = filter.slice(0, at < 0 ? filter.length : at);
    if (at < 0 || !Object.hasOwn(table, name)) {
      throw new TkadmError('USAGE', `Cannot filter by "${filter}": there is no filter "${name}"`, {
        hint: `Filters: ${Object.keys(table).join(', ')}, as name=value`,
      });
    }
    byName.set(name, [...(byName.get(name) ?? []), filter.slice(at + 1)]);
  }
  return items.filter((item) =>
    [...byName].every(([name, values]) =>
      name === 'label'
        ? values.every((value) => table[name]!(item, value))
        : values.some((value) => table[name]!(item, value)),
    ),
  );
}

/** "name" or "name=value" among labels. */
export function hasLabel(labels: Row, wanted: string): boolean {
  const at = wanted.indexOf('=');
  if (at < 0) return Object.hasOwn(labels, wanted);
  return labels[wanted.slice(0, at)] === wanted.slice(at + 1);
}
