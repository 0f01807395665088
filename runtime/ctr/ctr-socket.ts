import { rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { PassThrough, type Readable } from 'node:stream';
import { drained } from '../base/drained.ts';
import { formatError, isTkadmError, TkadmError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { listenPrivately } from '../base/private-socket.ts';
import type {
  CtrBody,
  CtrCall,
  CtrErrorPayload,
  CtrNote,
  CtrRequest,
  CtrResult,
  TerminalSize,
} from './ctr-messages.ts';
import { encodeFrame, FRAME, parsePayload, readFrames } from './frames.ts';

/** What a handler has of its client. */
export interface CtrConnection<C extends CtrCall = CtrCall> {
  /** What the client sends behind its request. */
  readonly input: Readable;
  /** Resolve when the client can take more. */
  readonly stdout: (bytes: Buffer) => Promise<void>;
  readonly stderr: (bytes: Buffer) => Promise<void>;
  readonly note: (value: CtrNote<C>) => Promise<void>;
  /** Calls back for each change of the client's terminal. */
  readonly onResize: (listener: (size: TerminalSize) => void) => void;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
}

/** A handler for each call. */
export type CtrHandlers = {
  readonly [C in CtrCall]: (body: CtrBody<C>, connection: CtrConnection<C>) => Promise<CtrResult<C>>;
};

export interface CtrServer {
  /** Stops listening and cuts the calls under way. */
  close(): Promise<void>;
}

/** Serves containers on a unix socket that root alone may open (0600); an old socket file is replaced. */
export async function serveCtr(socketPath: string, handlers: CtrHandlers, log: Logger): Promise<CtrServer> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    answer(socket, handlers, log).catch((error: unknown) => {
      log.debug('ctr connection broken', { error: formatError(error) });
      socket.destroy();
    });
  });
  await listenPrivately(server, socketPath);
  return {
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
      await rm(socketPath, { force: true });
    },
  };
}

async function answer(socket: Socket, handlers: CtrHandlers, log: Logger): Promise<void> {
  const frames = readFrames(socket);
  const first = await frames.next();
  if (first.done) return;
  const abort = new AbortController();
  socket.once('close', () => abort.abort());
  const send = (kind: number, payload: unknown) => write(socket, encodeFrame(kind, payload));
  const input = new PassThrough();
  input.on('error', () => {});
  const listeners: ((size: TerminalSize) => void)[] = [];
  try {
    const { call, body } = parsePayload<CtrRequest>(first.value);
    const handler = Object.hasOwn(handlers, call) ? handlers[call] : undefined;
    if (handler === undefined) {
      throw new TkadmError('CTR_REQUEST_INVALID', `Cannot answer "${String(call)}": no such call`);
    }
    void receive(frames, input, (size) => {
      for (const listener of listeners) listener(size);
    });
    const result = await (handler as (body: unknown, connection: CtrConnection) => Promise<unknown>)(body, {
      input,
      stdout: (bytes) => send(FRAME.stdout, bytes),
      stderr: (bytes) => send(FRAME.stderr, bytes),
      note: (value) => send(FRAME.note, value),
      onResize: (listener) => void listeners.push(listener),
      signal: abort.signal,
    });
    await send(FRAME.result, result);
  } catch (error) {
    if (!isTkadmError(error) && !abort.signal.aborted) {
      log.warn('ctr call failed', { error: error instanceof Error ? error.stack : String(error) });
    }
    await send(FRAME.error, describeError(error));
  }
  socket.end();
}

/** Hands on what the client sends; its end, or the connection's, ends the input. */
async function receive(
  frames: AsyncGenerator<{ readonly kind: number; readonly payload: Buffer }>,
  input: PassThrough,
  onResize: (size: TerminalSize) => void,
): Promise<void> {
  try {
    for await (const frame of frames) {
      if (frame.kind === FRAME.resize) onResize(parsePayload<TerminalSize>(frame));
      else if (frame.kind === FRAME.inputEnd) input.end();
      else if (frame.kind === FRAME.input && !input.writableEnded && !input.write(frame.payload)) {
        await drained(input);
      }
    }
  } catch {
    // The connection broke: its end is what counts.
  }
  input.end();
}

function write(socket: Socket, bytes: Buffer): Promise<void> {
  if (socket.destroyed || !socket.writable || socket.write(bytes)) return Promise.resolve();
  return drained(socket);
}

function describeError(error: unknown): CtrErrorPayload {
  const message = formatError(error);
  if (!isTkadmError(error)) return { code: 'INTERNAL', message };
  const { code, hint, details } = error;
  return { code, message, ...(hint === undefined ? {} : { hint }), ...(details && { details }) };
}
