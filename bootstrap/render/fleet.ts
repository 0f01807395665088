import type { RemoteEvent } from '../ssh/remote-command.ts';
import { formatCount } from './count.ts';
import { formatDryRun } from './dry-run.ts';
import { type EventFields, formatEvent } from './event-line.ts';
import { describeResult, formatSummary, type HostResult, OUTCOMES } from './fleet-result.ts';
import { maskDeep, maskSecrets } from './mask.ts';
import type { OutputFormat } from './renderer.ts';

interface Target {
  readonly user: string;
  readonly host: string;
}

/** Tells of one machine of a run. */
export interface MachineReporter {
  readonly progress: (text: string) => void;
  /** An event of the command that runs there. */
  readonly event: (event: RemoteEvent) => void;
  readonly warn: (text: string) => void;
  /** Its end. A failure that the command line tells of anyway is not said twice. */
  readonly ended: (result: HostResult, isSaidLater?: boolean) => void;
}

/** Tells of a run over many machines. */
export interface FleetReporter {
  readonly start: (targets: readonly Target[]) => void;
  readonly machine: (host: string) => MachineReporter;
  /** How a person is asked while this is on the screen. */
  readonly askThrough: <R, A extends readonly unknown[]>(
    ask: (...words: A) => Promise<R>,
  ) => (...words: A) => Promise<R>;
  /** Something of no single machine. */
  readonly note: (message: string, level?: 'info' | 'warning') => void;
  /** Everything is on the screen. `data`: of the result of a run that has succeeded. */
  readonly finish: (
    results: readonly HostResult[],
    data?: Readonly<Record<string, unknown>>,
  ) => Promise<void>;
}

/** What a reporter writes to. */
export interface FleetOutput {
  readonly write: (text: string) => void;
  readonly now: () => Date;
  readonly isTerminal: boolean;
  /** How wide it is. */
  readonly terminal?: { readonly size: () => { readonly columns: number } | undefined };
}

const UPLOAD = 'send the node bundle';

/** What is done, in words. */
const FLEET_COMMANDS = {
  join: 'Joining over SSH',
  'upgrade node': 'Upgrading over SSH, one after the other',
  apply: 'Applying to',
} as const;

export type FleetCommand = keyof typeof FLEET_COMMANDS;

export interface FleetReporterOptions {
  readonly format: OutputFormat;
  readonly command: FleetCommand;
  /** Diffs are a text to read, in order. */
  readonly isDryRun?: boolean;
}

/** A live list in a terminal, lines prefixed with the machine, or events whose `host` is the machine. */
export async function createFleetReporter(
  output: FleetOutput,
  options: FleetReporterOptions,
): Promise<FleetReporter> {
  if (options.format !== 'text') return createEventReporter(output, options.format, options.command);
  if (!output.isTerminal || options.isDryRun) return createTextReporter(output, options.command);
  const { createLiveReporter } = await import('./fleet-live.ts');
  return createLiveReporter(output, {
    command: options.command,
    plain: createTextReporter(output, options.command),
  });
}

/** What an event says to people; undefined for one that says nothing. */
export function formatRemoteEvent(event: RemoteEvent): string | undefined {
  const { type, phase, summary = '', message, level, isDryRun, preview } = event;
  if (type === 'action') return `[${phase}] ${isDryRun ? formatDryRun(summary, preview) : summary}`;
  if (type === 'progress') return `[${phase}] ${message}`;
  if (type === 'note') return level === 'warning' ? `Warning: ${message}` : (message ?? '');
  return undefined;
}

/** What became of a machine, for people. */
export function formatEnd({ node, outcome, changes, durationMs, error }: HostResult): string {
  if (error) return error.message;
  if (outcome === undefined)
    return `dry run: ${formatCount(changes ?? 0, 'change')} would be made for node "${node}"; nothing was changed`;
  return `node "${node}" ${OUTCOMES[outcome]} (${(durationMs / 1000).toFixed(1)} s)`;
}

function createTextReporter({ write }: FleetOutput, command: FleetCommand): FleetReporter {
  return {
    start: (targets) => write(formatStart(command, targets)),
    machine(host) {
      const tell = (text: string) => write(`${host}: ${maskSecrets(text)}\n`);
      return {
        progress: thinOut(tell),
        event: (event) => {
          const text = formatRemoteEvent(event);
          if (text !== undefined) tell(text);
        },
        warn: (text) => tell(`Warning: ${text}`),
        ended: (result, isSaidLater = false) => !(result.error && isSaidLater) && tell(formatEnd(result)),
      };
    },
    askThrough: (ask) => ask,
    note: (message, level = 'info') =>
      write(`${level === 'warning' ? 'Warning: ' : ''}${maskSecrets(message)}\n`),
    finish: async (results) => write(maskSecrets(summaryOf(command, results))),
  };
}

export function formatStart(command: FleetCommand, targets: readonly Target[]): string {
  const names = targets.map(({ user, host }) => (user === '' ? host : `${user}@${host}`));
  return `${FLEET_COMMANDS[command]}: ${names.join(', ')}\n`;
}

/** The table, where there is more to say of the machines than their lines did. */
export function summaryOf(command: FleetCommand, results: readonly HostResult[], columns?: number): string {
  const hasFailed = results.length > 1 && results.some(({ error }) => error);
  return command === 'apply' || hasFailed ? formatSummary(results, columns) : '';
}

function createEventReporter(
  { write, now }: FleetOutput,
  format: 'json' | 'yaml',
  command: FleetCommand,
): FleetReporter {
  const emit = (event: EventFields, host?: string) =>
    write(formatEvent(maskDeep(event) as EventFields, { command, host, now }, format));
  return {
    start: () => {},
    machine(host) {
      const tell = (event: EventFields) => emit(event, host);
      return {
        progress: thinOut((message) => tell({ type: 'progress', message })),
        event: (event) => {
          const { time: _, command: __, host: ___, ...fields } = event as EventFields;
          tell(fields as EventFields);
        },
        warn: (message) => tell({ type: 'note', level: 'warning', message }),
        ended: (result) => tell({ type: 'host', ...describeResult(result) }),
      };
    },
    askThrough: (ask) => ask,
    note: (message, level = 'info') => emit({ type: 'note', level, message }),
    finish: async (_, data) => data && emit({ type: 'result', ok: true, ...data }),
  };
}

/** The many lines of an upload are thinned out to one a second. */
function thinOut(tell: (text: string) => void): (text: string) => void {
  let lastUpload = 0;
  return (text) => {
    if (text.startsWith(UPLOAD)) {
      const now = performance.now();
      if (now - lastUpload < 1000) return;
      lastUpload = now;
    }
    tell(text);
  };
}
