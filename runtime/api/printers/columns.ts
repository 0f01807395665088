import type { JsonObject } from '../schema/types.ts';

/** `metav1.TableColumnDefinition`; priority 1 shows with `kubectl get -o wide` only. */
export interface Column {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'date';
  readonly format: string;
  readonly description: string;
  readonly priority: number;
}

export type Cell = string | number | boolean | null;

/** How a kind shows in a table. */
export interface Printer {
  readonly columns: readonly Column[];
  readonly cells: (object: JsonObject, now: Date) => readonly Cell[];
}

/**
 * Columns from a line of names: "Name|Ready|Age|IP+|Count#" gives "IP" priority 1 and "Count" the type integer.
 */
export function parseColumns(line: string): readonly Column[] {
  return line.split('|').map((word) => {
    const name = word.replace(/[+#?]+$/, '');
    return {
      name,
      type: word.includes('#') ? 'integer' : word.includes('?') ? 'boolean' : 'string',
      format: name === 'Name' ? 'name' : '',
      description: describeColumn(name),
      priority: word.includes('+') ? 1 : 0,
    };
  });
}

const DESCRIPTIONS: Readonly<Record<string, string>> = {
  Name: 'Name of the object, unique in its namespace.',
  Age: 'Time since the object was created.',
  'Created At': 'Time at which the object was created.',
};

function describeColumn(name: string): string {
  return DESCRIPTIONS[name] ?? `${name} of the object.`;
}
