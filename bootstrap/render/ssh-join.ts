import { isTkadmError } from '../../runtime/base/errors.ts';
import type { RemoteEvent } from '../ssh/remote-command.ts';
import { formatDryRun } from './dry-run.ts';
import { type EventFields, formatEvent } from './event-line.ts';
import { maskDeep, maskSecrets } from './mask.ts';
import type { OutputFormat } from './renderer.ts';

interface Target {
  readonly user: string;
  readonly host: string;
}

/** Tells of one machine that is joined. */
export interface MachineReporter {
  readonly progress: (text: string) => void;
  /** An event of the command that runs there. */
  readonly event: (event: RemoteEvent) => void;
  readonly warn: (text: string) => void;
  readonly done: (node: string, durationMs: number) => void;
  /** In a dry run, in place of `done`. */
  readonly previewed: (node: string, changes: number) => void;
  /** `isShown`: in text, the line is not said again by the command line. */
  readonly failed: (error: Error, isShown: boolean) => void;
}

/** Tells of a join over SSH. */
export interface SshReporter {
  readonly start: (targets: readonly Target[]) => void;
  readonly machine: (host: string) => MachineReporter;
  readonly finish: (nodes: readonly string[]) => void;
}

interface Output {
  readonly write: (text: string) => void;
  readonly now: () => Date;
}

const UPLOAD = 'send the node bundle';

/** What is done over SSH, in words. */
const COMMANDS = {
  join: { begins: 'Joining over SSH', ends: 'has joined' },
  'upgrade node': { begins: 'Upgrading over SSH, one after the other', ends: 'is upgraded' },
} as const;

export type SshCommand = keyof typeof COMMANDS;

/** Lines for people, prefixed with the machine; or events, whose `host` is the machine. */
export function createSshReporter(
  output: Output,
  format: OutputFormat,
  command: SshCommand = 'join',
): SshReporter {
  return format === 'text'
    ? createTextReporter(output, command)
    : createEventReporter(output, format, command);
}

function createTextReporter({ write }: Output, command: SshCommand): SshReporter {
  const { begins, ends } = COMMANDS[command];
  return {
    start: (targets) =>
      write(`${begins}: ${targets.map((target) => `${target.user}@${target.host}`).join(', ')}\n`),
    machine(host) {
      const tell = (text: string) => write(`${host}: ${maskSecrets(text)}\n`);
      return {
        progress: thinOut(tell),
        event: ({ type, phase, summary = '', message, level, isDryRun, preview }) => {
          if (type === 'action') tell(`[${phase}] ${isDryRun ? formatDryRun(summary, preview) : summary}`);
          if (type === 'progress') tell(`[${phase}] ${message}`);
          if (type === 'note') tell(level === 'warning' ? `Warning: ${message}` : (message ?? ''));
        },
        warn: (text) => tell(`Warning: ${text}`),
        done: (node, ms) => tell(`node "${node}" ${ends} (${(ms / 1000).toFixed(1)} s)`),
        previewed: (node, changes) =>
          tell(`dry run: ${changes} changes would be made for node "${node}"; nothing was changed`),
        failed: (error, isShown) => isShown && tell(error.message),
      };
    },
    finish: () => {},
  };
}

function createEventReporter(
  { write, now }: Output,
  format: 'json' | 'yaml',
  command: SshCommand,
): SshReporter {
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
        done: (node, ms) => tell({ type: 'host', ok: true, node, durationMs: Math.round(ms) }),
        previewed: (node, changes) => tell({ type: 'host', ok: true, node, isDryRun: true, changes }),
        failed: (error) => {
          const { code, hint } = isTkadmError(error) ? error : { code: 'INTERNAL', hint: undefined };
          tell({ type: 'host', ok: false, code, message: error.message, ...(hint ? { hint } : {}) });
        },
      };
    },
    finish: (nodes) => emit({ type: 'result', ok: true, nodes }),
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
