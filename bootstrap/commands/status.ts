import { dump } from 'js-yaml';
import { ERRORS, EXIT_CODES, TkadmError } from '../../runtime/base/errors.ts';
import { sleep } from '../../runtime/base/time.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { formatStatus } from '../render/status.ts';
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

/** To the top left, and away with what is there. */
const CLEAR = '\x1b[H\x1b[J';
const INTERVAL_S = 2;

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

/** Draws anew in a terminal; elsewhere writes what has changed. Ends with the signal. */
async function watchStatus(
  context: CliContext,
  { output, interval }: ClusterStatusOptions,
  look: ReturnType<typeof createLook>,
): Promise<number> {
  const { signal, isTerminal } = context;
  const seconds = Number(interval ?? INTERVAL_S);
  let told = '';
  while (!signal.aborted) {
    const status = await look();
    const now = context.now();
    if (output === 'json') context.write(`${JSON.stringify({ time: now.toISOString(), ...status })}\n`);
    else if (output === 'yaml') context.write(`---\n${dump(status, { noRefs: true, skipInvalid: true })}`);
    else if (isTerminal) context.write(CLEAR + fit(formatStatus(status, now), context.terminal.size()));
    else {
      const text = formatStatus(status, now);
      // Ages alone are no news.
      const news = text.replace(/\d+[dhms]+( ago)?\b|\d[\d.]* MiB/g, '');
      if (news !== told) context.write(`${now.toISOString()}\n${text}`);
      told = news;
    }
    await sleep(seconds * 1000, signal).catch(() => {});
  }
  return 0;
}

/** What a terminal has room for: a line that is wrapped, or scrolls the first one away, would be unreadable. */
function fit(text: string, size: { readonly columns: number; readonly rows: number } | undefined): string {
  if (!size) return text;
  const lines = text.trimEnd().split('\n');
  return lines
    .slice(0, Math.max(1, size.rows - 1))
    .map((line) => (line.length > size.columns ? `${line.slice(0, size.columns - 1)}…` : line))
    .join('\n')
    .concat('\n');
}
