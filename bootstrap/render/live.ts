import { type ListrTask, ListrTaskState, type ListrTaskWrapper } from 'listr2';
import { formatAction } from '../workflow/action.ts';
import type { WorkflowEvent } from '../workflow/event.ts';
import { groupOf } from '../workflow/phase.ts';
import { createLiveList } from './live-list.ts';
import type { Renderer, RendererOptions, RunResult } from './renderer.ts';
import { formatWarning } from './wrap.ts';

type Wrapper = ListrTaskWrapper<unknown, never, never>;

/** A group of phases as one line of the list. */
interface Line {
  readonly name: string;
  readonly summary: string;
  /** The summary, and once the group has ended how it did. */
  title: string;
  /** Phases of the group that have not ended. */
  pending: number;
  /** Some phase of the group had something to do. */
  hasActed: boolean;
  /** How the phases ended that had nothing to do: "Already there", "Passed". */
  readonly states: Set<string>;
  startedAt: number | undefined;
  /** No phase of the group has begun or been left out. */
  isWaiting: boolean;
  task: Wrapper | undefined;
  lastText: string;
  readonly settled: Promise<void>;
  settle: (error?: Error) => void;
}

/** A live list in the terminal: a line for each group of phases, below it what is being done. */
export function createLiveRenderer(options: RendererOptions): Renderer {
  const lines = buildLines(options);
  const notes: string[] = [];
  const tasks: ListrTask[] = [...lines.values()].map((line) => ({
    title: line.summary,
    task: (_, task) => {
      line.task = task as unknown as Wrapper;
      // The list starts all at once; a line whose phases have not begun must not look as if they had.
      task.title = line.title;
      if (line.isWaiting) showState(line, ListrTaskState.WAITING);
      task.output = line.lastText;
      return line.settled;
    },
  }));
  const list = createLiveList(tasks);
  const running = list.run().catch(() => {});
  return {
    emit(event) {
      if (event.type === 'note')
        notes.push(
          event.level === 'warning'
            ? formatWarning(`Warning: ${event.message}`, options.columns)
            : `${event.message}\n`,
        );
      else update(lines.get(groupOf(event.phase)), event);
    },
    async finish(result: RunResult) {
      for (const line of lines.values()) {
        line.settle(result.isOk || line.isWaiting ? undefined : new Error('not finished'));
      }
      await running;
      for (const note of notes) options.write(note);
      options.write(result.text);
    },
  };
}

function buildLines({ phases }: RendererOptions): ReadonlyMap<string, Line> {
  const lines = new Map<string, Line>();
  for (const phase of phases) {
    const name = groupOf(phase.name);
    const line = lines.get(name);
    if (line) {
      line.pending += 1;
      continue;
    }
    let settle: Line['settle'] = () => {};
    const settled = new Promise<void>((resolve, reject) => {
      settle = (error) => (error ? reject(error) : resolve());
    });
    settled.catch(() => {});
    lines.set(name, {
      name,
      summary: phase.summary,
      title: phase.summary,
      pending: 1,
      hasActed: false,
      states: new Set(),
      startedAt: undefined,
      isWaiting: true,
      task: undefined,
      lastText: '',
      settled,
      settle,
    });
  }
  return lines;
}

function update(line: Line | undefined, event: Exclude<WorkflowEvent, { type: 'note' }>): void {
  if (!line) return;
  if (line.isWaiting) {
    line.isWaiting = false;
    showState(line, ListrTaskState.STARTED);
  }
  if (event.type === 'phase-started') line.startedAt ??= performance.now();
  else if (event.type === 'action') {
    line.lastText = formatAction(event.action);
    if (line.task) line.task.output = line.lastText;
  } else if (event.type === 'progress') {
    line.lastText = event.message;
    if (line.task) line.task.output = line.lastText;
  } else if (event.type === 'phase-failed') line.settle(new Error(event.message));
  else {
    line.pending -= 1;
    if (event.type === 'phase-done' && event.state === undefined) line.hasActed = true;
    else if (event.type === 'phase-done' && event.state) line.states.add(event.state);
    if (line.pending > 0) return;
    line.title = `${line.summary} ${formatEnd(line)}`;
    if (line.task) line.task.title = line.title;
    line.settle();
  }
}

function showState(line: Line, state: ListrTaskState): void {
  if (line.task) line.task.task.state$ = state;
}

function formatEnd(line: Line): string {
  if (line.startedAt === undefined) return '(skipped)';
  const seconds = ((performance.now() - line.startedAt) / 1000).toFixed(1);
  // Parts that have nothing to do in any run say nothing beside those that have.
  const state = [...line.states].sort((a, b) => Number(isIdle(a)) - Number(isIdle(b)))[0];
  return line.hasActed || state === undefined ? `(${seconds} s)` : `(${shorten(state)})`;
}

function isIdle(state: string): boolean {
  return state.startsWith('Nothing to do');
}

/** "Nothing to do: the embedded store needs no etcd" → "nothing to do": a line of the list is not wrapped. */
function shorten(state: string): string {
  const [text = ''] = state.split(':');
  return text.charAt(0).toLowerCase() + text.slice(1);
}
