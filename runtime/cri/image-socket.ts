import { rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { formatError, isTkadmError, TkadmError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { listenPrivately } from '../base/private-socket.ts';
import {
  ARCHIVE_TYPE,
  IMAGE_CALLS,
  type ImageAnswerLine,
  type ImageCall,
  type ImageResults,
  type LayerProgress,
} from './image-messages.ts';

/** What a handler of the image socket gets. */
export interface ImageCallContext {
  /** What stands behind the call's path, decoded. */
  readonly name: string;
  readonly body: Readable;
  /** Tells the client how far it is; a line without its end. */
  readonly progress: (line: string) => void;
  /** Tells the client how far a layer is. */
  readonly layerProgress: (layer: LayerProgress) => void;
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
}

/** A handler for each call. */
export type ImageHandlers = {
  readonly [C in ImageCall]: (context: ImageCallContext) => Promise<ImageResults[C]>;
};

export interface ImageServer {
  /** Stops listening and ends the calls under way. */
  close(): Promise<void>;
}

/** Serves images on a unix socket that root alone may open (0600); an old socket file is replaced. */
export async function serveImages(
  socketPath: string,
  handlers: ImageHandlers,
  log: Logger,
): Promise<ImageServer> {
  const server = createServer({ requestTimeout: 0 }, (request, response) => {
    void answer(request, response, handlers, log);
  });
  await listenPrivately(server, socketPath);
  return {
    async close() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await rm(socketPath, { force: true });
    },
  };
}

/** Answers one call in JSON lines; the status is 200 once the call is known. */
async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  handlers: ImageHandlers,
  log: Logger,
): Promise<void> {
  const abort = new AbortController();
  response.on('close', () => abort.abort());
  const write = (line: ImageAnswerLine<unknown>) => {
    if (!abort.signal.aborted) response.write(`${JSON.stringify(line)}\n`);
  };
  const body = detachedBody(request);
  try {
    const { call, name } = findCall(request);
    response.setHeader('content-type', 'application/x-ndjson');
    const progress = (line: string) => write({ progress: line });
    const layerProgress = (layer: LayerProgress) => write({ layer });
    const result = await handlers[call]({ name, body, progress, layerProgress, signal: abort.signal });
    if (result instanceof Readable) return await sendArchive(result, response);
    write({ result });
  } catch (error) {
    if (!isTkadmError(error)) log.warn('image call failed', { call: request.url, error: formatError(error) });
    if (response.headersSent && response.getHeader('content-type') === ARCHIVE_TYPE) {
      response.destroy();
      return;
    }
    write({ error: describeError(error) });
  }
  response.end();
  // What the call did not read of the body must not keep the connection.
  request.unpipe(body);
  request.resume();
}

/** The body as a stream that may be given up: destroying the request itself cuts the answer off. */
function detachedBody(request: IncomingMessage): PassThrough {
  const body = new PassThrough();
  // A handler that does not read it is not told of its end either.
  body.on('error', () => {});
  request.on('error', (error) => body.destroy(error));
  request.on('close', () => request.complete || body.destroy(new Error('the client has gone')));
  return request.pipe(body);
}

/** An archive that breaks off breaks the connection: its client must not take it for whole. */
async function sendArchive(archive: Readable, response: ServerResponse): Promise<void> {
  response.setHeader('content-type', ARCHIVE_TYPE);
  await pipeline(archive, response);
}

function findCall(request: IncomingMessage): { readonly call: ImageCall; readonly name: string } {
  const { pathname } = new URL(request.url ?? '/', 'http://images');
  for (const [call, { method, path }] of Object.entries(IMAGE_CALLS)) {
    const isOpen = path.endsWith('/');
    const isMatch = isOpen ? pathname.startsWith(path) && pathname !== path : pathname === path;
    if (!isMatch || request.method !== method) continue;
    return { call: call as ImageCall, name: isOpen ? decodeURIComponent(pathname.slice(path.length)) : '' };
  }
  throw new TkadmError(
    'IMAGE_REQUEST_INVALID',
    `Cannot answer "${request.method} ${pathname}": no such call`,
  );
}

function describeError(error: unknown): Extract<ImageAnswerLine<never>, { error: object }>['error'] {
  const message = formatError(error);
  if (!isTkadmError(error)) return { code: 'INTERNAL', message };
  return { code: error.code, message, ...(error.hint === undefined ? {} : { hint: error.hint }) };
}
