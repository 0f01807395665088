import { connect, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { drained } from '../base/drained.ts';
import { ERRORS, type ErrorCode, isSystemError, TkadmError } from '../base/errors.ts';
import { PATHS } from '../base/paths.ts';
import type { CtrBody, CtrCall, CtrErrorPayload, CtrNote, CtrResult, TerminalSize } from './ctr-messages.ts';
import { encodeFrame, FRAME, type Frame, parsePayload, readFrames } from './frames.ts';

/** The ctr socket of a node. */
export const CTR_SOCKET = PATHS.ctrSocket;

export interface CtrCallOptions<C extends CtrCall> {
  /** Sent behind the request; its end is told. */
  readonly input?: Readable | undefined;
  readonly onOutput?: ((stream: 'stdout' | 'stderr', bytes: Buffer) => Promise<void>) | undefined;
  readonly onNote?: ((note: CtrNote<C>) => void) | undefined;
  /** Called at once with what tells the service of the terminal's size. */
  readonly onOpen?: ((resize: (size: TerminalSize) => void) => void) | undefined;
  /** Ends the call: the connection is cut. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes one call at the runtime's ctr socket.
 * @throws the error that the runtime reports, CTR_RUNTIME_UNREACHABLE, or the signal's reason.
 */
export async function callCtr<C extends CtrCall>(
  socketPath: string,
  call: C,
  body: CtrBody<C>,
  options: CtrCallOptions<C> = {},
): Promise<CtrResult<C>> {
  const { signal } = options;
  signal?.throwIfAborted();
  const socket = connect(socketPath);
  const abort = () => socket.destroy();
  signal?.addEventListener('abort', abort, { once: true });
  try {
    socket.write(encodeFrame(FRAME.request, { call, body }));
    options.onOpen?.((size) => socket.writable && socket.write(encodeFrame(FRAME.resize, size)));
    if (options.input) void sendInput(socket, options.input);
    for await (const frame of readFrames(socket)) {
      if (frame.kind === FRAME.result) return parsePayload<CtrResult<C>>(frame);
      if (frame.kind === FRAME.error) throw toError(parsePayload<CtrErrorPayload>(frame));
      await deliver(frame, options);
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw isSocketFailure(error) ? unreachable(socketPath, error) : error;
  } finally {
    signal?.removeEventListener('abort', abort);
    socket.destroy();
  }
  signal?.throwIfAborted();
  throw unreachable(socketPath, new Error('it ended before its answer did'));
}

async function deliver<C extends CtrCall>(frame: Frame, options: CtrCallOptions<C>): Promise<void> {
  if (frame.kind === FRAME.note) options.onNote?.(parsePayload<CtrNote<C>>(frame));
  if (frame.kind === FRAME.stdout) await options.onOutput?.('stdout', frame.payload);
  if (frame.kind === FRAME.stderr) await options.onOutput?.('stderr', frame.payload);
}

async function sendInput(socket: Socket, input: Readable): Promise<void> {
  try {
    for await (const chunk of input as AsyncIterable<Buffer | string>) {
      if (!socket.writable) return;
      if (socket.write(encodeFrame(FRAME.input, Buffer.from(chunk)))) continue;
      await drained(socket);
    }
    if (socket.writable) socket.write(encodeFrame(FRAME.inputEnd, Buffer.alloc(0)));
  } catch {
    // An input that breaks off cuts the call: half of an archive must not pass for a whole one.
    socket.destroy();
  }
}

/** True for what the socket itself reports: "ENOENT", "ECONNREFUSED", "ECONNRESET". */
function isSocketFailure(error: unknown): error is NodeJS.ErrnoException {
  if (isSystemError(error, 'ERR_STREAM_PREMATURE_CLOSE')) return true;
  return error instanceof Error && 'syscall' in error;
}

function toError({ code, message, hint, details }: CtrErrorPayload): Error {
  if (!Object.hasOwn(ERRORS, code)) return new Error(message);
  return new TkadmError(code as ErrorCode, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(details && { details }),
  });
}

function unreachable(socketPath: string, error: NodeJS.ErrnoException): TkadmError {
  const isDenied = error.code === 'EACCES';
  return new TkadmError(
    'CTR_RUNTIME_UNREACHABLE',
    `Cannot reach the runtime: "${socketPath}": ${error.code ?? error.message}`,
    { hint: isDenied ? 'sudo tkadm ctr ...' : 'tkadm service start runtime', cause: error },
  );
}
