import type { LayerProgress } from '../../runtime/cri/image-messages.ts';
import type { CliContext } from './context.ts';
import type { DocumentFormat } from './output.ts';
import { formatSize } from './size.ts';

/** Shows how a pull goes on. */
export interface PullDisplay {
  update(layer: LayerProgress): void;
  /** Takes away what is shown for the moment only. */
  end(): void;
}

const MS_BETWEEN_LINES = 100;
const STATES = { present: 'is there', pulling: 'pulling', done: 'done' } as const satisfies Record<
  LayerProgress['state'],
  string
>;

/**
 * In a terminal one line that changes, with bytes and rate; in a pipe a line for each change of a layer's state; beside
 * a JSON document JSON lines on standard error.
 */
export function createPullDisplay(context: CliContext, output: DocumentFormat): PullDisplay {
  if (output === 'json') {
    return {
      update: (layer) => context.writeError(`${JSON.stringify({ type: 'layer', ...layer })}\n`),
      end: () => {},
    };
  }
  return output === 'text' && context.isTerminal ? liveLine(context) : changesOnly(context, output);
}

function changesOnly(context: CliContext, output: DocumentFormat): PullDisplay {
  const write = output === 'text' ? context.write : context.writeError;
  const last = new Map<string, string>();
  return {
    update({ digest, state, sizeBytes }) {
      if (last.get(digest) === state) return;
      last.set(digest, state);
      write(
        `${digest.slice('sha256:'.length, 'sha256:'.length + 12)}: ${STATES[state]} (${sizeBytes} bytes)\n`,
      );
    },
    end: () => {},
  };
}

function liveLine({ write, now }: CliContext): PullDisplay {
  const layers = new Map<string, LayerProgress>();
  const startMs = now().getTime();
  let shownMs = 0;
  return {
    update(layer) {
      layers.set(layer.digest, layer);
      const nowMs = now().getTime();
      if (nowMs - shownMs < MS_BETWEEN_LINES) return;
      shownMs = nowMs;
      write(`\r\x1b[2K${formatPull([...layers.values()], nowMs - startMs)}`);
    },
    end: () => write('\r\x1b[2K'),
  };
}

/** "2 of 5 layers, 12.3MB of 39.0MB, 45.1MB/s"; layers that were there already do not count for the rate. */
export function formatPull(layers: readonly LayerProgress[], elapsedMs: number): string {
  const sum = (rows: readonly LayerProgress[], pick: (layer: LayerProgress) => number) =>
    rows.reduce((total, layer) => total + pick(layer), 0);
  const ended = layers.filter(({ state }) => state !== 'pulling').length;
  const fetched = sum(
    layers.filter(({ state }) => state !== 'present'),
    (layer) => layer.doneBytes,
  );
  const done = formatSize(sum(layers, (layer) => layer.doneBytes));
  const all = formatSize(sum(layers, (layer) => layer.sizeBytes));
  const rate = formatSize(fetched / Math.max(elapsedMs / 1000, 0.001));
  return `${ended} of ${layers.length} layers, ${done} of ${all}, ${rate}/s`;
}
