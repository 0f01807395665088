import { dump } from 'js-yaml';
import { ERRORS, EXIT_CODES, TkadmError } from '../../runtime/base/errors.ts';
import { sleep } from '../../runtime/base/time.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { formatScreen, HIDE_CURSOR, SHOW_CURSOR } from '../render/screen.ts';
import { formatStatus } from '../render/status.ts';
import type { ClusterStatus } from '../status/cluster-status.ts';
import { collectStatus } from '../status/collect-status.ts';
import { openCluster } from './cluster-client.ts';
import type { CliContext } from './context.ts';
import { writeData } from './output.ts';

export interface ClusterStatusOptions {
  readonly output: string;
  readonly kubeconfig?: string;
  readonly watch?: boolean;
  /** Seconds between two looks. */
  readonly interval?: string;
}

const INTERVAL_S = 2;
/** Of a terminal that does not tell. */
const UNKNOWN_SIZE = { columns: 80, rows: 24 };

/** `tkadm status [-w]`: the cluster at a glance. Returns the exit code: 0 when all is well. */
export async function runStatus(context: CliContext, options: ClusterStatusOptions): Promise<number> {
  if (options.interval !== undefined && !(Number(options.interval) > 0)) {
    throw new TkadmError('USAGE', `Cannot use --interval "${options.interval}": it is no number of seconds`);
  }
  const look = createLook(context, options);
  if (options.watch) return watchStatus(context, options, look);
  const status = await look();
  writeData(context, options.output, status, formatStatus(status, context.now()));
  return status.ok ? 0 : EXIT_CODES[ERRORS.FAULT_FOUND];
}

function createLook(context: CliContext, { kubeconfig }: ClusterStatusOptions) {
  const api = openCluster(context, kubeconfig);
  const host = createLocalHost();
  return () => collectStatus({ host, nodePath: context.nodePath, api, now: context.now });
}

/** Draws anew in a terminal; elsewhere writes what has changed. Ends with the signal, also in the middle of a look. */
async function watchStatus(
  context: CliContext,
  options: ClusterStatusOptions,
  look: ReturnType<typeof createLook>,
): Promise<number> {
  const { signal } = context;
  const isDrawn = context.isTerminal && options.output === 'text';
  const show = isDrawn ? createDrawing(context) : createLog(context, options.output);
  const ended = new Promise<undefined>((resolve) => {
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  while (!signal.aborted) {
    const status = await Promise.race([look(), ended]);
    if (status === undefined) break;
    show.tell(status);
    await sleep(Number(options.interval ?? INTERVAL_S) * 1000, signal).catch(() => {});
  }
  show.end();
  return 0;
}

interface StatusView {
  tell(status: ClusterStatus): void;
  end(): void;
}

/** On the whole screen, and at once when that has changed its size. */
function createDrawing({ terminal, now, write }: CliContext): StatusView {
  let last: ClusterStatus | undefined;
  const draw = () => {
    if (last) write(formatScreen(formatStatus(last, now()), terminal.size() ?? UNKNOWN_SIZE));
  };
  const endResize = terminal.onResize(draw);
  write(HIDE_CURSOR + formatScreen('', UNKNOWN_SIZE));
  return {
    tell: (status) => {
      last = status;
      draw();
    },
    end: () => {
      endResize();
      write(SHOW_CURSOR);
    },
  };
}

/** Documents for programs; for people what has changed, as ages alone are no news. */
function createLog({ write, now }: CliContext, output: string): StatusView {
  let told = '';
  const tell = (status: ClusterStatus) => {
    const time = now().toISOString();
    if (output === 'json') return write(`${JSON.stringify({ time, ...status })}\n`);
    if (output === 'yaml') return write(`---\n${dump(status, { noRefs: true, skipInvalid: true })}`);
    const text = formatStatus(status, now());
    const news = text.replace(/\d+[dhms]+( ago)?\b|\d[\d.]* [MG]iB|[\d.]+ of /g, '');
    if (news !== told) write(`${time}\n${text}`);
    told = news;
  };
  return { tell, end: () => {} };
}
