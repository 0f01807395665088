import { type IncomingMessage, request } from 'node:http';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ERRORS, type ErrorCode, isSystemError, TkadmError } from '../base/errors.ts';
import {
  ARCHIVE_TYPE,
  IMAGE_CALLS,
  type ImageAnswerLine,
  type ImageCall,
  type ImageResults,
  type LayerProgress,
} from './image-messages.ts';

export interface ImageCallRequest {
  /** Behind the call's path. */
  readonly name?: string;
  /** A value goes as JSON, a stream as it is. */
  readonly body?: object | Readable;
  readonly onProgress?: (line: string) => void;
  readonly onLayer?: (layer: LayerProgress) => void;
  readonly signal?: AbortSignal;
}

/**
 * Makes one call at the runtime's image socket. The archive of `save` is a stream, which fails when it breaks off.
 * @throws the error that the runtime reports, or IMAGE_RUNTIME_UNREACHABLE.
 */
export async function callImages<C extends ImageCall>(
  socketPath: string,
  call: C,
  options: ImageCallRequest = {},
): Promise<ImageResults[C]> {
  try {
    const response = await send(socketPath, call, options);
    if (response.headers['content-type'] === ARCHIVE_TYPE) return response as Readable as ImageResults[C];
    for await (const text of createInterface({ input: response, crlfDelay: Number.POSITIVE_INFINITY })) {
      const line = JSON.parse(text) as ImageAnswerLine<ImageResults[C]>;
      if ('progress' in line) options.onProgress?.(line.progress);
      else if ('layer' in line) options.onLayer?.(line.layer);
      else if ('result' in line) return line.result;
      else throw toError(line.error);
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    throw isSystemFailure(error) ? unreachable(socketPath, error) : error;
  }
  options.signal?.throwIfAborted();
  throw unreachable(socketPath, new Error('it ended before its answer did'));
}

/** True for what the socket itself reports, "ENOENT", "ECONNREFUSED", "ECONNRESET". */
function isSystemFailure(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error ? true : isSystemError(error, 'ECONNRESET');
}

async function send(
  socketPath: string,
  call: ImageCall,
  { name = '', body, signal }: ImageCallRequest,
): Promise<IncomingMessage> {
  const { method, path } = IMAGE_CALLS[call];
  const outgoing = request({
    socketPath,
    method,
    path: `${path}${encodeURIComponent(name)}`,
    ...(signal ? { signal } : {}),
  });
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve);
    // After the answer, an error of what is still being sent tells nothing new.
    outgoing.on('error', reject);
  });
  if (isStream(body)) {
    // The runtime may answer, and close, before it has read everything.
    const sent = pipeline(body, outgoing);
    sent.catch(() => {});
    return Promise.race([answered, sent.then(() => answered)]);
  }
  outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  return answered;
}

function isStream(body: object | undefined): body is Readable {
  return body !== undefined && 'pipe' in body;
}

function toError({ code, message, hint }: { code: string; message: string; hint?: string }): Error {
  if (!Object.hasOwn(ERRORS, code)) return new Error(message);
  return new TkadmError(code as ErrorCode, message, hint === undefined ? {} : { hint });
}

function unreachable(socketPath: string, error: NodeJS.ErrnoException): TkadmError {
  const isDenied = error.code === 'EACCES';
  return new TkadmError(
    'IMAGE_RUNTIME_UNREACHABLE',
    `Cannot reach the runtime: "${socketPath}": ${error.code ?? error.message}`,
    { hint: isDenied ? 'sudo tkadm image ...' : 'tkadm service start', cause: error },
  );
}
