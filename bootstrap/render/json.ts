import { formatAction } from '../workflow/action.ts';
import type { WorkflowEvent } from '../workflow/event.ts';
import { type EventFields, formatEvent } from './event-line.ts';
import { maskDeep } from './mask.ts';
import type { Renderer, RendererOptions } from './renderer.ts';

/**
 * Events for programs: one JSON object a line, or YAML documents. The last of a run that succeeds has
 * `type: "result"`; that of one that fails is the command line's `type: "error"`. File contents and objects are
 * left out, and secrets but those that the result is about.
 */
export function createEventRenderer(options: RendererOptions): Renderer {
  const format = options.format === 'yaml' ? 'yaml' : 'json';
  const print = (event: EventFields) => options.write(formatEvent(event, options, format));
  return {
    emit: (event) => print(maskDeep(toEventFields(event)) as EventFields),
    async finish(result) {
      if (result.isOk) print({ type: 'result', ok: true, ...result.data });
    },
  };
}

/** An event as its line tells it: without contents of files and objects. */
export function toEventFields(event: WorkflowEvent): EventFields {
  if (event.type === 'phase-done') return { ...event, durationMs: Math.round(event.durationMs) };
  if (event.type !== 'action') return event;
  const { action, ...rest } = event;
  const wait = action.kind === 'wait' ? { timeoutMs: action.timeoutMs } : {};
  return { ...rest, action: action.kind, summary: formatAction(action), ...wait };
}
