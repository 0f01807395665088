import {
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestOptions,
} from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Call } from './call.ts';
import type { UpgradeSocket } from './server.ts';
import { StatusError } from './status-error.ts';

/** Where a request goes on to. `path` holds the query. */
export interface ProxyTarget {
  readonly isTls: boolean;
  readonly host: string;
  readonly port: number;
  readonly path: string;
  /** Certificates and verification of a TLS connection. */
  readonly tls?: RequestOptions & { readonly cert?: string; readonly key?: string; readonly ca?: string };
  /** What the backend refuses is told as a Status, not passed on as it is. */
  readonly hasStatusErrors: boolean;
}

/** Headers of one connection only (RFC 9110 §7.6.1), and credentials that are meant for this server. */
const DROPPED_HEADERS = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'te',
  'trailer',
  'upgrade',
  'host',
  'authorization',
]);

const TOKEN_PROTOCOL = 'base64url.bearer.authorization.k8s.io.';

/** Passes a request on to a backend and its answer back, both as streams; upgraded connections byte for byte. */
export async function proxyRequest(
  call: Call,
  target: ProxyTarget,
  upgrade: UpgradeSocket | undefined,
): Promise<void> {
  if (upgrade) return proxyUpgrade(call, target, upgrade);
  const { request, response } = call;
  const backend = startRequest(request, target, forwardedHeaders(request));
  response.once('close', () => backend.destroy());
  const answered = answerOf(backend, target);
  request.pipe(backend);
  const answer = await answered;
  const code = answer.statusCode ?? 502;
  if (code >= 400 && target.hasStatusErrors) throw await backendRefused(answer);
  const headers = Object.entries(answer.headers).filter(([name]) => !DROPPED_HEADERS.has(name));
  response.writeHead(code, Object.fromEntries(headers));
  response.flushHeaders();
  await pipeline(answer, response).catch(() => response.destroy());
}

async function proxyUpgrade(call: Call, target: ProxyTarget, client: UpgradeSocket): Promise<void> {
  const { request, response } = call;
  const headers = {
    ...forwardedHeaders(request),
    connection: 'Upgrade',
    upgrade: request.headers.upgrade ?? '',
  };
  const backend = startRequest(request, target, headers);
  client.socket.once('close', () => backend.destroy());
  backend.end();
  const answer = await new Promise<{
    readonly response: IncomingMessage;
    readonly socket?: Duplex;
    readonly head?: Buffer;
  }>((resolve, reject) => {
    backend.once('upgrade', (upgraded, socket, head) => resolve({ response: upgraded, socket, head }));
    backend.once('response', (refused) => resolve({ response: refused }));
    backend.once('error', (error) => reject(unreachable(target, error)));
  });
  if (!answer.socket) throw await backendRefused(answer.response);
  response.detachSocket(client.socket as Parameters<typeof response.detachSocket>[0]);
  response.statusCode = 101;
  join(client, { socket: answer.socket, head: answer.head ?? Buffer.alloc(0) }, formatHead(answer.response));
}

// Byte for byte in both directions; one end's half-close is passed on.
function join(client: UpgradeSocket, backend: UpgradeSocket, head: string): void {
  client.socket.write(head);
  if (backend.head.length > 0) client.socket.write(backend.head);
  if (client.head.length > 0) backend.socket.write(client.head);
  client.socket.pipe(backend.socket);
  backend.socket.pipe(client.socket);
  for (const [one, other] of [
    [client.socket, backend.socket],
    [backend.socket, client.socket],
  ] as const) {
    one.on('error', () => other.destroy());
    one.once('close', () => other.end());
  }
}

function startRequest(request: IncomingMessage, target: ProxyTarget, headers: OutgoingHttpHeaders) {
  const send = target.isTls ? httpsRequest : httpRequest;
  const host = target.host.includes(':') ? `[${target.host}]` : target.host;
  return send({
    ...target.tls,
    host: target.host,
    port: target.port,
    method: request.method,
    path: target.path,
    headers: { ...headers, host: `${host}:${target.port}` },
    agent: false,
  });
}

function answerOf(backend: ReturnType<typeof startRequest>, target: ProxyTarget): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    backend.once('response', resolve);
    backend.once('error', (error) => reject(unreachable(target, error)));
  });
}

function forwardedHeaders(request: IncomingMessage): OutgoingHttpHeaders {
  const kept = Object.entries(request.headers).filter(
    ([name]) => !DROPPED_HEADERS.has(name) && !/^(impersonate-|x-remote-)/.test(name),
  );
  const headers: OutgoingHttpHeaders = Object.fromEntries(kept);
  const protocols = request.headers['sec-websocket-protocol'];
  if (protocols?.includes(TOKEN_PROTOCOL)) headers['sec-websocket-protocol'] = withoutToken(protocols);
  return headers;
}

// Browsers send their token as a subprotocol: it is for this server alone.
function withoutToken(protocols: string): string {
  const kept = protocols.split(',').filter((protocol) => !protocol.trim().startsWith(TOKEN_PROTOCOL));
  return kept.join(',').trim();
}

function formatHead(response: IncomingMessage): string {
  const lines = [`HTTP/1.1 ${response.statusCode} ${response.statusMessage}`];
  for (let i = 0; i < response.rawHeaders.length; i += 2) {
    lines.push(`${response.rawHeaders[i]}: ${response.rawHeaders[i + 1]}`);
  }
  return `${lines.join('\r\n')}\r\n\r\n`;
}

async function backendRefused(answer: IncomingMessage): Promise<StatusError> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8').trim();
  const code = answer.statusCode ?? 500;
  return new StatusError(code, {
    reason: REASONS[code] ?? 'InternalError',
    message: text || `the backend answered ${code}`,
  });
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  503: 'ServiceUnavailable',
};

function unreachable(target: ProxyTarget, error: Error): StatusError {
  return new StatusError(503, {
    reason: 'ServiceUnavailable',
    message: `error trying to reach service: dial tcp ${target.host}:${target.port}: ${error.message}`,
  });
}
