import type { ListrTask, ListrTaskWrapper } from 'listr2';
import { createGate } from '../fleet/gate.ts';
import {
  type FleetCommand,
  type FleetOutput,
  type FleetReporter,
  formatEnd,
  formatRemoteEvent,
  formatStart,
  type MachineReporter,
  summaryOf,
} from './fleet.ts';
import { createLiveList } from './live-list.ts';
import { maskSecrets } from './mask.ts';
import { formatWarning } from './wrap.ts';

type Wrapper = ListrTaskWrapper<unknown, never, never>;

/** A machine as one line of the list, with what is done there below it. */
interface Line {
  title: string;
  step: string;
  task: Wrapper | undefined;
  /** Its task runs: nothing but what is told changes it from then on. */
  readonly started: Promise<void>;
  readonly start: () => void;
  readonly settled: Promise<void>;
  readonly settle: (error?: Error) => void;
}

interface LiveOptions {
  readonly command: FleetCommand;
  /** Goes on when somebody is asked: a list that is drawn again and again leaves no room for a question. */
  readonly plain: FleetReporter;
}

/** A live list in the terminal: a line for each machine. Warnings are said at the end, where they stay. */
export function createLiveReporter(
  { write, terminal }: FleetOutput,
  { command, plain }: LiveOptions,
): FleetReporter {
  const lines = new Map<string, Line>();
  const notes: string[] = [];
  const warnings: Warnings = new Map();
  let list: LiveList | undefined;
  let isPlain = false;
  const yieldScreen = async () => {
    if (isPlain) return;
    isPlain = true;
    await list?.stop();
  };
  return {
    start(targets) {
      if (isPlain) return plain.start(targets);
      write(formatStart(command, targets));
      for (const { host } of targets) lines.set(host, createLine(host));
      list = runList([...lines.values()]);
    },
    machine(host) {
      const [live, later] = [tellLine(host, lines.get(host), { notes, warnings }), plain.machine(host)];
      const now = () => (isPlain ? later : live);
      return {
        progress: (text) => now().progress(text),
        event: (event) => now().event(event),
        warn: (text) => now().warn(text),
        ended: (result, isSaidLater) => now().ended(result, isSaidLater),
      };
    },
    askThrough:
      (ask) =>
      async (...words) => {
        await yieldScreen();
        return ask(...words);
      },
    note(message, level = 'info') {
      if (isPlain) plain.note(message, level);
      else notes.push(`${level === 'warning' ? 'Warning: ' : ''}${maskSecrets(message)}\n`);
    },
    async finish(results) {
      // A list that was given up would be drawn again.
      if (isPlain) return plain.finish(results);
      for (const line of lines.values()) line.settle(new Error('not finished'));
      await list?.ended;
      const columns = terminal?.size()?.columns;
      const summary = maskSecrets(summaryOf(command, results, columns));
      write(`${formatWarnings(warnings, columns)}${notes.join('')}${summary}`);
    },
  };
}

function createLine(host: string): Line {
  const [started, settled] = [createGate<void>(), createGate<void>()];
  return {
    title: host,
    step: '',
    task: undefined,
    started: started.opened,
    start: () => started.open(),
    settled: settled.opened,
    settle: (error) => (error ? settled.fail(error) : settled.open()),
  };
}

interface LiveList {
  readonly ended: Promise<unknown>;
  /** Leaves what is on the screen there, and draws no more. */
  readonly stop: () => Promise<void>;
}

function runList(lines: readonly Line[]): LiveList {
  const tasks: ListrTask[] = lines.map((line) => ({
    title: line.title,
    task: (_, task) => {
      line.task = task as unknown as Wrapper;
      task.title = line.title;
      task.output = line.step;
      line.start();
      return line.settled;
    },
  }));
  const list = createLiveList(tasks);
  const ended = list.run().catch(() => {});
  const stop = async () => {
    await Promise.all(lines.map(({ started }) => started));
    (list as unknown as { readonly renderer: { readonly end: () => void } }).renderer.end();
  };
  return { ended, stop };
}

/** What was warned of, with the machines that it holds for. */
type Warnings = Map<string, Set<string>>;

/** What is said once the list has ended. */
interface Later {
  readonly notes: string[];
  readonly warnings: Warnings;
}

/** "one, two: Warning: ...": each once, for machines that are alike tell the same. */
function formatWarnings(warnings: Warnings, columns: number | undefined): string {
  return [...warnings]
    .map(([message, hosts]) => formatWarning(`${[...hosts].join(', ')}: Warning: ${message}`, columns))
    .join('');
}

/** A machine that was not known when the list began has its lines after it. */
function tellLine(host: string, line: Line | undefined, { notes, warnings }: Later): MachineReporter {
  const show = (text: string) => {
    const [step = ''] = maskSecrets(text).split('\n');
    if (!line) return;
    line.step = step;
    if (line.task) line.task.output = step;
  };
  const warn = (text: string) => {
    const message = maskSecrets(text);
    warnings.set(message, (warnings.get(message) ?? new Set()).add(host));
  };
  return {
    progress: show,
    warn,
    event(event) {
      if (event.type === 'note' && event.level === 'warning') warn(event.message ?? '');
      else {
        const text = formatRemoteEvent(event);
        if (text !== undefined) show(text);
      }
    },
    ended(result) {
      const text = maskSecrets(formatEnd(result));
      if (!line) {
        notes.push(`${host}: ${text}\n`);
        return;
      }
      line.title = `${host}: ${text.split('\n')[0]}`;
      if (line.task) line.task.title = line.title;
      line.settle(result.error);
    },
  };
}
