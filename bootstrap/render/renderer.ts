import type { WorkflowEvent } from '../workflow/event.ts';

/** Shows a run; `finish` returns when everything is on the screen. */
export interface Renderer {
  emit(event: WorkflowEvent): void;
  /** The run's result for people (`text`) and for programs (`data`). */
  finish(result: RunResult): Promise<void>;
}

export interface RunResult {
  readonly isOk: boolean;
  readonly text: string;
  readonly data: Readonly<Record<string, unknown>>;
}

export type OutputFormat = 'text' | 'json' | 'yaml';

export interface RendererOptions {
  readonly format: OutputFormat;
  readonly isTerminal: boolean;
  /** "init", "join": a field of every event. */
  readonly command: string;
  /** The machine that events are about; default: this one. */
  readonly host?: string | undefined;
  readonly now?: (() => Date) | undefined;
  readonly write: (text: string) => void;
  /** How wide a terminal is. */
  readonly columns?: number | undefined;
  /** Phases in the order in which they are shown, with their summaries. */
  readonly phases: readonly { readonly name: string; readonly summary: string }[];
}

/** The renderer that fits the output: events, a live list in a terminal, plain lines in a pipe. */
export async function createRenderer(options: RendererOptions): Promise<Renderer> {
  if (options.format !== 'text') return (await import('./json.ts')).createEventRenderer(options);
  const renderer = options.isTerminal
    ? (await import('./live.ts')).createLiveRenderer(options)
    : (await import('./plain.ts')).createPlainRenderer(options);
  const { maskSecrets } = await import('./mask.ts');
  return {
    emit: (event) =>
      renderer.emit('message' in event ? { ...event, message: maskSecrets(event.message) } : event),
    finish: (result) => renderer.finish(result),
  };
}
