import { isTkadmError } from '../../runtime/base/errors.ts';
import { formatCount } from './count.ts';
import { formatTable } from './table.ts';
import { wrap } from './wrap.ts';

/** How a machine of a run ended, with what is said of its node. */
export const OUTCOMES = {
  initialized: 'is the control plane',
  joined: 'has joined',
  started: 'was started again',
  changed: 'was changed',
  unchanged: 'is as it should be',
  upgraded: 'is upgraded',
  removed: 'was drained and is no node any more',
  left: 'is not in the file and was left as it is',
} as const;

export type Outcome = keyof typeof OUTCOMES;

/** One machine of a run, at its end. */
export interface HostResult {
  /** Its address, as it was written. */
  readonly host: string;
  readonly node?: string | undefined;
  /** Absent in a dry run, and with an error. */
  readonly outcome?: Outcome;
  /** In a dry run: what would be changed. */
  readonly changes?: number;
  readonly durationMs: number;
  readonly error?: Error;
}

/** A table of all machines for people: what became of each, why, and what to do next. */
export function formatSummary(results: readonly HostResult[], columns = Infinity): string {
  const rows = results.map(({ host, node = '-', outcome, changes, error }) => [
    host,
    node,
    error
      ? isTkadmError(error, 'INTERRUPTED')
        ? 'interrupted'
        : 'failed'
      : (outcome ?? formatCount(changes ?? 0, 'change')),
    error ? firstLine(error.message) : '',
  ]);
  const table = formatTable([['HOST', 'NODE', 'RESULT', 'REASON'], ...rows]);
  const hints = results.flatMap(({ host, error }) =>
    isTkadmError(error) && error.hint ? [`${host}: try: ${error.hint}\n`] : [],
  );
  const reasonAt = table.indexOf('REASON');
  const lines = table.trimEnd().split('\n');
  // Narrower than this a sentence is no easier to read in lines of its own.
  const width = columns - reasonAt < 30 ? Infinity : columns;
  return `\n${lines.map((line) => `${wrap(line, reasonAt, width)}\n`).join('')}${hints.join('')}`;
}

/** A result as events have it. */
export function describeResult({ node, outcome, changes, durationMs, error }: HostResult) {
  if (error) {
    const { code, hint } = isTkadmError(error) ? error : { code: 'INTERNAL', hint: undefined };
    return { ok: false, code, message: error.message, ...(hint ? { hint } : {}) };
  }
  return outcome === undefined
    ? { ok: true, node, isDryRun: true, changes }
    : { ok: true, node, outcome, durationMs: Math.round(durationMs) };
}

/** The rest is said where the machine failed. */
function firstLine(text: string): string {
  const [first = '', ...others] = text.split('\n');
  return others.length > 0 ? `${first.trim()} ${others[0]?.trim()}` : first;
}
