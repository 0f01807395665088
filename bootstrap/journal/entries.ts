import { createHash } from 'node:crypto';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Change } from './change.ts';

/** A line of the journal. Each action has a line before it and one after it; several may be under way. */
export type Entry =
  | { readonly type: 'run-started'; readonly run: number; readonly command: string; readonly time: string }
  | {
      readonly type: 'started';
      readonly run: number;
      /** Unique in the journal. */
      readonly id: number;
      readonly phase: string;
      /** formatAction's line. */
      readonly summary: string;
      readonly changes: readonly Change[];
    }
  | {
      readonly type: 'done' | 'failed';
      readonly run: number;
      readonly id: number;
      /** What is known of the changes only now that they are made, by their index. */
      readonly after?: Readonly<Record<number, Partial<Change>>>;
    }
  | { readonly type: 'run-ended'; readonly run: number; readonly state: 'done' | 'failed' | 'interrupted' };

/** What a journal's text holds. */
export interface JournalText {
  readonly entries: readonly Entry[];
  /** Where the next line goes: what comes after it was torn by a loss of power. */
  readonly wholeBytes: number;
}

const SEAL = /^(\{.*),"sum":"([0-9a-f]{16})"\}$/s;

/** JSON on one line whose last field, "sum", is half of the SHA-256 of what stands before it. */
export function formatSealed(value: object): string {
  const body = JSON.stringify(value).slice(0, -1);
  return `${body},"sum":"${digestOf(body)}"}\n`;
}

/** The value of a sealed line without its end; undefined when it is not as it was written. */
export function parseSealed(line: string): Record<string, unknown> | undefined {
  const [, body = '', sum] = SEAL.exec(line) ?? [];
  return sum === digestOf(body) ? (JSON.parse(`${body}}`) as Record<string, unknown>) : undefined;
}

function digestOf(body: string): string {
  return createHash('sha256').update(body).digest('hex').slice(0, 16);
}

/**
 * The entries of a journal. A line without its end, and zeros at the end of the file, are what a loss of power has
 * left of a line whose action had not begun; they do not count.
 * @throws JOURNAL_DAMAGED for any other line that is not as it was written
 */
export function parseEntries(bytes: Uint8Array, path: string): JournalText {
  const text = Buffer.from(bytes).toString('utf8');
  const lines = text.split('\n');
  const entries: Entry[] = [];
  let wholeBytes = 0;
  for (const [index, line] of lines.slice(0, -1).entries()) {
    const value = parseSealed(line);
    if (value === undefined && isZeros(lines.slice(index))) break;
    if (value === undefined) throw damaged(path, `line ${index + 1} is not as it was written`);
    entries.push(value as unknown as Entry);
    wholeBytes += Buffer.byteLength(line) + 1;
  }
  return { entries, wholeBytes };
}

/** The rest of a file whose size reached the disk before its content. */
function isZeros(lines: readonly string[]): boolean {
  return lines.join('\n').includes('\0') && lines.every((line) => parseSealed(line) === undefined);
}

/** The error for a part of the journal that cannot be trusted. */
export function damaged(path: string, state: string): TkadmError {
  return new TkadmError('JOURNAL_DAMAGED', `Cannot use the journal "${path}": ${state}`, {
    hint: `mv ${path} ${path}.damaged; then reset goes by what it finds, and what was replaced is not put back`,
  });
}

/** A run that has not come to its end. */
export interface Unfinished {
  readonly command: string;
  /** It was ended from outside; else it has failed. */
  readonly isInterrupted: boolean;
  /** Where it was: the phase of the first action that had begun and not ended, else of the last; and the action. */
  readonly phase: string | undefined;
  readonly summary: string | undefined;
}

/** False for commands that finish nothing that another one has begun. */
export function finishesOthers(command: string): boolean {
  return !['preflight', 'service start'].includes(command) && !command.endsWith(' phase');
}

/** The last run, when it is to be gone on with; undefined: there is none. */
export function findUnfinished(entries: readonly Entry[]): Unfinished | undefined {
  const last = entries.findLast((entry) => entry.type === 'run-started' && finishesOthers(entry.command));
  if (last?.type !== 'run-started') return undefined;
  const own = entries.filter((entry) => entry.run === last.run);
  const end = own.find((entry) => entry.type === 'run-ended');
  if (end?.state === 'done') return undefined;
  const started = own.filter((entry) => entry.type === 'started');
  const ended = new Set(own.flatMap((entry) => (entry.type === 'done' ? [entry.id] : [])));
  const at = started.find((entry) => !ended.has(entry.id)) ?? started.at(-1);
  const isInterrupted = end?.state !== 'failed';
  return { command: last.command, isInterrupted, phase: at?.phase, summary: at?.summary };
}
