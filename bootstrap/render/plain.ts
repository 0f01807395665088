import { formatAction } from '../workflow/action.ts';
import { formatDryRunAction } from './dry-run.ts';
import type { Renderer, RendererOptions } from './renderer.ts';

/** kubeadm's form, `[phase] what is done`, one line for each change. */
export function createPlainRenderer({ write }: RendererOptions): Renderer {
  return {
    emit(event) {
      if (event.type === 'action') {
        const text = event.isDryRun
          ? formatDryRunAction(event.action, event.preview)
          : formatAction(event.action);
        write(`[${event.phase}] ${text}\n`);
      } else if (event.type === 'progress') write(`[${event.phase}] ${event.message}\n`);
      else if (event.type === 'phase-done' && event.state !== undefined)
        write(`[${event.phase}] ${event.state}\n`);
      else if (event.type === 'phase-skipped') write(`[${event.phase}] Skipped\n`);
      else if (event.type === 'phase-failed') write(`[${event.phase}] Failed\n`);
      else if (event.type === 'note')
        write(event.level === 'warning' ? `[warning] ${event.message}\n` : `${event.message}\n`);
    },
    async finish(result) {
      write(result.text);
    },
  };
}
