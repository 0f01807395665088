import { formatAction } from '../workflow/action.ts';
import type { WorkflowEvent } from '../workflow/event.ts';
import type { Renderer, RendererOptions } from './renderer.ts';

/** One JSON object a line; the last has `type: "result"`. File contents and objects are left out. */
export function createJsonRenderer({ write }: RendererOptions): Renderer {
  const print = (value: unknown) => write(`${JSON.stringify(value)}\n`);
  return {
    emit: (event) => print(withoutContent(event)),
    async finish(result) {
      if (result.isOk) print({ type: 'result', ok: result.isOk, ...result.data });
    },
  };
}

function withoutContent(event: WorkflowEvent): unknown {
  if (event.type !== 'action') return event;
  const { action, ...rest } = event;
  return { ...rest, action: action.kind, summary: formatAction(action) };
}
