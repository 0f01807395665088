import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import type { Status } from '../../api/api-error.ts';
import { StatusError } from './status-error.ts';
import { internalError } from './status-errors.ts';

const CHUNK_BYTES = 256 * 1024;
/** Answers below this size are not worth compressing (upstream's threshold). */
const GZIP_MIN_BYTES = 128 * 1024;

/** Writes a JSON answer from bytes, text or an object. */
export function sendJson(response: ServerResponse, code: number, body: Buffer | string | object): void {
  const payload = Buffer.isBuffer(body) || typeof body === 'string' ? body : JSON.stringify(body);
  response.writeHead(code, {
    'Content-Type': 'application/json',
    'Content-Length': typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length,
  });
  response.end(payload);
}

/** Writes text of another type. */
export function sendText(response: ServerResponse, code: number, text: string, type = 'text/plain'): void {
  response.writeHead(code, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) });
  response.end(text);
}

/** Writes JSON parts one behind the other, compressed when they are many and the client reads gzip. */
export async function sendParts(
  request: IncomingMessage,
  response: ServerResponse,
  parts: readonly Buffer[],
): Promise<void> {
  const body = Buffer.concat(parts);
  if (body.length < GZIP_MIN_BYTES) return sendJson(response, 200, body);
  const isGzip = /\bgzip\b/.test(String(request.headers['accept-encoding'] ?? ''));
  const payload = isGzip ? await gzip(body) : body;
  response.writeHead(200, {
    'Content-Type': 'application/json',
    'Content-Length': payload.length,
    ...(isGzip ? { 'Content-Encoding': 'gzip' } : {}),
    Vary: 'Accept-Encoding',
  });
  // In pieces, so that a slow client does not hold the encrypted whole in memory.
  await pipeline(Readable.from(chunksOf(payload)), response).catch(() => response.destroy());
}

function* chunksOf(bytes: Buffer): Generator<Buffer> {
  for (let start = 0; start < bytes.length; start += CHUNK_BYTES)
    yield bytes.subarray(start, start + CHUNK_BYTES);
}

/** Answers a failure as `metav1.Status`; anything that is no StatusError is a 500. */
export function sendError(response: ServerResponse, error: unknown): void {
  const failure = error instanceof StatusError ? error : internalError(error);
  if (response.headersSent) {
    response.destroy();
    return;
  }
  for (const [name, value] of Object.entries(failure.headers)) response.setHeader(name, value);
  sendJson(response, failure.code, formatStatus(failure.status));
}

/** A Status as upstream writes it: with `metadata`. */
export function formatStatus(status: Status): object {
  const { kind: _kind, apiVersion: _apiVersion, ...rest } = status;
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, ...rest };
}

async function gzip(body: Buffer): Promise<Buffer> {
  const zlib = await import('node:zlib');
  return promisify<Buffer, { level: number }, Buffer>(zlib.gzip)(body, { level: 1 });
}
