import { isJsonObject, type JsonObject } from '../schema/types.ts';
import type { Cell, Column, Printer } from './columns.ts';
import { ageOf, formatSince, nameOf } from './format.ts';

/** `CustomResourceColumnDefinition`: jsonPath reads ".spec.replicas". */
export interface PrinterColumn {
  readonly name: string;
  readonly type: string;
  readonly jsonPath: string;
  readonly format?: string;
  readonly description?: string;
  readonly priority?: number;
}

const STEP =
  /\.([A-Za-z0-9_$/-]+(?:\\\.[A-Za-z0-9_$/-]+)*)|\[(\d+|\*)\]|\['([^']*)'\]|\[\?\(@\.([\w.]+)\s*==\s*['"]([^'"]*)['"]\)\]/y;

function readMember(value: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((at, key) => (isJsonObject(at) ? at[key] : undefined), value);
}

function applyStep(values: readonly unknown[], step: RegExpExecArray): unknown[] {
  const [, name, index, quoted, filterPath, filterValue] = step;
  const key = name?.replace(/\\\./g, '.') ?? quoted;
  if (key !== undefined) return values.map((value) => (isJsonObject(value) ? value[key] : undefined));
  const lists = values.filter((value): value is unknown[] => Array.isArray(value));
  if (index === '*') return lists.flat();
  if (index !== undefined) return lists.map((list) => list[Number(index)]);
  return lists.flat().filter((item) => String(readMember(item, filterPath!)) === filterValue);
}

/**
 * The first value at a JSON path, or undefined: names, indices, "*", and equality filters
 * `.status.conditions[?(@.type=="Ready")].status`; other forms of JSON path find nothing.
 */
function readJsonPath(object: JsonObject, path: string): unknown {
  let values: unknown[] = [object];
  STEP.lastIndex = 0;
  while (STEP.lastIndex < path.length) {
    const step = STEP.exec(path);
    if (!step) return undefined;
    values = applyStep(values, step).filter((value) => value !== undefined);
  }
  return values[0];
}

const TYPES = ['string', 'integer', 'number', 'boolean', 'date'] as const;

function toColumn(column: PrinterColumn): Column {
  return {
    name: column.name,
    type: TYPES.find((type) => type === column.type) ?? 'string',
    format: column.format ?? '',
    description: column.description ?? `${column.name} of the object.`,
    priority: column.priority ?? 0,
  };
}

function toCell(value: unknown, type: string, now: Date): Cell {
  if (value === undefined || value === null) return null;
  if (type === 'date') return formatSince(String(value), now);
  if (type === 'string') return typeof value === 'object' ? JSON.stringify(value) : String(value);
  return typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string' ? value : null;
}

const NAME_COLUMN: Column = {
  name: 'Name',
  type: 'string',
  format: 'name',
  description: 'Name of the object, unique in its namespace.',
  priority: 0,
};

const AGE_COLUMN: Column = {
  name: 'Age',
  type: 'date',
  format: '',
  description: 'Time since the object was created.',
  priority: 0,
};

/** The printer of a custom resource: its name and its `additionalPrinterColumns`, the age when it has none. */
export function customPrinter(columns: readonly PrinterColumn[]): Printer {
  if (columns.length === 0)
    return {
      columns: [NAME_COLUMN, AGE_COLUMN],
      cells: (object, now) => [nameOf(object), ageOf(object, now)],
    };
  return {
    columns: [NAME_COLUMN, ...columns.map(toColumn)],
    cells: (object, now) => [
      nameOf(object),
      ...columns.map(({ jsonPath, type }) => toCell(readJsonPath(object, jsonPath), type, now)),
    ],
  };
}
