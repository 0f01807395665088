import { hrtime } from 'node:process';

/** One measured quantity: how it is shown and what it is held against. */
export interface Row {
  readonly key: string;
  readonly what: string;
  readonly unit: 'ms' | 's' | 'MiB' | '1/s' | '%' | 'MB' | 'n' | 'x';
  /** The figure to reach; absent where it is only compared with a peer of the same run. */
  readonly bar?: number;
  /** Rates are better when they are higher. */
  readonly isRate?: boolean;
  /** What others need for it, as DESIGN section 7 names it. */
  readonly peers?: string;
}

/** A group of rows that are measured in one go. */
export interface Subject {
  readonly name: string;
  readonly rows: readonly Row[];
  run(bench: Bench): Promise<void>;
}

/** What a subject gets. */
export interface Bench {
  /** How often a quantity is measured where it is cheap; subjects divide it for what takes seconds. */
  readonly samples: number;
  /** Of subjects with many hosts. */
  readonly hosts: number;
  /** Checkout that holds `dist/`. */
  readonly root: string;
  /** Directory that is removed at the end. */
  readonly scratch: string;
  /** Adds one measurement of a row. */
  record(key: string, value: number): void;
  /** A line about what is going on. */
  note(text: string): void;
}

/** The middle value, or the mean of the two middle ones; NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The value below which `share` (0 to 1) of the values lie. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** How long `work` takes, in milliseconds. */
export async function timed<T>(work: () => Promise<T>): Promise<{ readonly ms: number; readonly value: T }> {
  const startedAt = hrtime.bigint();
  const value = await work();
  return { ms: Number(hrtime.bigint() - startedAt) / 1e6, value };
}

/** True when a median reaches its bar; undefined without a bar. */
export function reachesBar(row: Row, value: number): boolean | undefined {
  if (row.bar === undefined) return undefined;
  return row.isRate ? value >= row.bar : value <= row.bar;
}
