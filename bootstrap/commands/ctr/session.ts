import { PassThrough, type Readable } from 'node:stream';
import { isTkadmError } from '../../../runtime/base/errors.ts';
import type { CtrCallOptions } from '../../../runtime/ctr/ctr-client.ts';
import type { CtrBody, CtrResult, ExitResult, TerminalSize } from '../../../runtime/ctr/ctr-messages.ts';
import type { CliContext } from '../context.ts';
import { ctr } from './call.ts';
import { DetachFilter, parseDetachKeys } from './detach-keys.ts';

/** The calls that join a process's streams and this terminal. */
type StreamCall = 'start' | 'attach' | 'exec';

export interface SessionOptions<C extends StreamCall> {
  readonly call: C;
  readonly body: CtrBody<C>;
  readonly hasTerminal: boolean;
  readonly hasInput: boolean;
  readonly detachKeys: string | undefined;
  /** Gets the signals that this command gets, "SIGINT"; without it they end the command. */
  readonly onSignal?: ((signal: NodeJS.Signals) => void) | undefined;
}

/** How a session ended: with the process, or by the detach keys. */
export type SessionEnd =
  | { readonly isDetached: true }
  | { readonly isDetached: false; readonly exitCode: number };

/** Runs one call with this terminal's streams: raw while the process has a terminal of its own. */
export async function runSession<C extends StreamCall>(
  context: CliContext,
  options: SessionOptions<C>,
): Promise<SessionEnd> {
  const { call, hasTerminal, hasInput } = options;
  const detach = new AbortController();
  const isRaw = hasTerminal && hasInput && context.isInputTerminal;
  const keys = parseDetachKeys(options.detachKeys ?? 'ctrl-p,ctrl-q');
  const input = hasInput
    ? readInput(context, hasTerminal ? new DetachFilter(keys) : undefined, () => detach.abort())
    : undefined;
  const release = options.onSignal === undefined ? () => {} : context.terminal.takeSignals(options.onSignal);
  const signal =
    options.onSignal === undefined ? AbortSignal.any([context.signal, detach.signal]) : detach.signal;
  const size = hasTerminal ? context.terminal.size() : undefined;
  let stopResizing = () => {};
  const callOptions: CtrCallOptions<StreamCall> = {
    input,
    signal,
    onOutput: async (stream, bytes) => {
      await (stream === 'stdout' ? context.writeBytes(bytes) : context.terminal.writeErrorBytes(bytes));
    },
    onOpen: (resize) => {
      if (hasTerminal) stopResizing = followSize(context, resize);
    },
  };
  if (isRaw) context.terminal.setRaw(true);
  try {
    const body = { ...options.body, ...(size && { size }) } as CtrBody<C>;
    const result = await ctr(context, call, body, callOptions as CtrCallOptions<C>);
    return { isDetached: false, exitCode: exitCodeOf(result) };
  } catch (error) {
    if (detach.signal.aborted) return { isDetached: true };
    throw error;
  } finally {
    if (isRaw) context.terminal.setRaw(false);
    stopResizing();
    release();
  }
}

function exitCodeOf(result: CtrResult<StreamCall>): number {
  return (result as ExitResult | null)?.exitCode ?? 0;
}

function followSize(context: CliContext, resize: (size: TerminalSize) => void): () => void {
  return context.terminal.onResize(() => {
    const size = context.terminal.size();
    if (size !== undefined) resize(size);
  });
}

/** Standard input, up to the detach keys. */
function readInput(context: CliContext, filter: DetachFilter | undefined, onDetach: () => void): Readable {
  const out = new PassThrough();
  const copy = async () => {
    for await (const chunk of context.stdin) {
      const { bytes, isDetached } = filter?.push(Buffer.from(chunk)) ?? {
        bytes: Buffer.from(chunk),
        isDetached: false,
      };
      if (bytes.length > 0 && !out.write(bytes)) await new Promise((resolve) => out.once('drain', resolve));
      if (isDetached) return onDetach();
    }
    out.end();
  };
  copy().catch((error: Error) => out.destroy(error));
  return out;
}

/** True for the failure of a call after the process has ended between two calls. */
export function isGone(error: unknown): boolean {
  return isTkadmError(error, 'CTR_NOT_FOUND') || isTkadmError(error, 'CTR_STATE');
}
