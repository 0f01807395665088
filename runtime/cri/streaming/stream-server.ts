import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, type WebSocket, WebSocketServer } from 'ws';
import { formatError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Dial } from './port-forward.ts';
import {
  forwardChannels,
  forwardSpdy,
  PORT_FORWARD_CHANNELS,
  PORT_FORWARD_PROTOCOL,
  PORT_FORWARD_TUNNEL,
} from './port-forward.ts';
import type { RemoteProcess } from './remote-command.ts';
import { connectRemote } from './remote-command.ts';
import { SpdyConnection } from './spdy.ts';
import { openSpdyChannels, SPDY_PROTOCOLS } from './spdy-channels.ts';
import type { ChannelWishes } from './websocket-channels.ts';
import { CHANNEL_PROTOCOLS, openWebSocketChannels } from './websocket-channels.ts';

/** What a URL stands for. */
export type StreamRequest =
  | {
      readonly kind: 'exec' | 'attach';
      readonly wishes: ChannelWishes & { readonly tty: boolean };
      readonly open: () => Promise<RemoteProcess>;
    }
  | { readonly kind: 'portforward'; readonly ports: readonly number[]; readonly dial: Dial };

export interface StreamServerOptions {
  /** "127.0.0.1:0" takes any port. */
  readonly address: string;
  readonly newToken: () => string;
  readonly now: () => Date;
  readonly log: Logger;
}

/** How long a URL may wait for its one use. */
const TOKEN_LIFETIME_MS = 60_000;

interface PendingRequest {
  readonly request: StreamRequest;
  readonly expiresAt: number;
}

/** Serves exec, attach and port-forward under URLs that work once. */
export class StreamServer {
  readonly #options: StreamServerOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Duplex>();
  readonly #pending = new Map<string, PendingRequest>();
  readonly #webSockets: WebSocketServer;

  constructor(options: StreamServerOptions) {
    this.#options = options;
    this.#server = createServer((_request, response) => {
      response.writeHead(400, { 'content-type': 'text/plain' }).end('Upgrade request required\n');
    });
    this.#webSockets = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: 32 * 1024 * 1024,
      handleProtocols: (offered, request) => chooseProtocol(this.#peek(request)?.kind, offered) ?? false,
    });
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      socket.on('error', () => socket.destroy());
      if (head.length > 0) socket.unshift(head);
      this.#upgrade(request, socket).catch((error: unknown) => {
        options.log.warn('stream failed', { error: formatError(error) });
        socket.destroy();
      });
    });
  }

  async listen(): Promise<void> {
    const [, host = '127.0.0.1', port = '0'] = /^(.*):(\d+)$/.exec(this.#options.address) ?? [];
    this.#server.listen(Number(port), host);
    await once(this.#server, 'listening');
  }

  /** The URL for one use of a request, within a minute. */
  issue(request: StreamRequest): string {
    const now = this.#options.now().getTime();
    for (const [token, { expiresAt }] of this.#pending) if (expiresAt < now) this.#pending.delete(token);
    const token = this.#options.newToken();
    this.#pending.set(token, { request, expiresAt: now + TOKEN_LIFETIME_MS });
    const { address, port, family } = this.#server.address() as AddressInfo;
    const host = family === 'IPv6' ? `[${address}]` : address;
    return `http://${host}:${port}/${request.kind}/${token}`;
  }

  /** Ends every connection. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #upgrade(message: IncomingMessage, socket: Duplex): Promise<void> {
    const request = this.#peek(message);
    if (request === undefined) {
      refuse(socket, 404, 'Not Found', 'unknown or used URL');
      return;
    }
    const upgrade = (message.headers.upgrade ?? '').toLowerCase();
    if (upgrade === 'websocket') await this.#acceptWebSocket(message, socket, request);
    else if (upgrade === 'spdy/3.1') await this.#acceptSpdy(message, socket, request);
    else refuse(socket, 400, 'Bad Request', `cannot upgrade to "${upgrade}"`);
  }

  async #acceptWebSocket(message: IncomingMessage, socket: Duplex, request: StreamRequest): Promise<void> {
    const offered = new Set(
      (message.headers['sec-websocket-protocol'] ?? '').split(',').map((p) => p.trim()),
    );
    const protocol = chooseProtocol(request.kind, offered);
    if (protocol === undefined) {
      refuse(socket, 403, 'Forbidden', `no supported protocol among "${[...offered].join(', ')}"`);
      return;
    }
    const webSocket = await new Promise<WebSocket>((resolve) => {
      this.#webSockets.handleUpgrade(message, socket, Buffer.alloc(0), resolve);
    });
    this.#take(message);
    if (request.kind !== 'portforward') {
      await connectRemote(openWebSocketChannels(webSocket, request.wishes), request.open);
    } else if (protocol === PORT_FORWARD_TUNNEL) {
      await forwardSpdy(new SpdyConnection(createWebSocketStream(webSocket)), request.dial);
    } else await forwardChannels(webSocket, request.ports, request.dial);
  }

  async #acceptSpdy(message: IncomingMessage, socket: Duplex, request: StreamRequest): Promise<void> {
    const offered = (message.headers['x-stream-protocol-version'] ?? '').toString().split(',');
    const known: readonly string[] =
      request.kind === 'portforward' ? [PORT_FORWARD_PROTOCOL] : SPDY_PROTOCOLS;
    const protocol = known.find((name) => offered.some((each) => each.trim() === name));
    if (protocol === undefined) {
      refuse(socket, 403, 'Forbidden', `no supported protocol among "${offered.join(', ')}"`);
      return;
    }
    this.#take(message);
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n' +
        `X-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
    );
    const connection = new SpdyConnection(socket);
    if (request.kind === 'portforward') await forwardSpdy(connection, request.dial);
    else await connectRemote(await openSpdyChannels(connection, request.wishes), request.open);
  }

  #peek(message: IncomingMessage): StreamRequest | undefined {
    const [, kind, token = ''] = (message.url ?? '').split('?', 1)[0]!.split('/');
    const pending = this.#pending.get(token);
    const isValid = pending !== undefined && pending.expiresAt >= this.#options.now().getTime();
    return isValid && pending.request.kind === kind ? pending.request : undefined;
  }

  #take(message: IncomingMessage): void {
    this.#pending.delete((message.url ?? '').split('?', 1)[0]!.split('/')[2] ?? '');
  }
}

function chooseProtocol(
  kind: StreamRequest['kind'] | undefined,
  offered: ReadonlySet<string>,
): string | undefined {
  const known = kind === 'portforward' ? [PORT_FORWARD_TUNNEL, PORT_FORWARD_CHANNELS] : CHANNEL_PROTOCOLS;
  return known.find((name) => offered.has(name));
}

function refuse(socket: Duplex, code: number, reason: string, text: string): void {
  socket.end(
    `HTTP/1.1 ${code} ${reason}\r\nConnection: close\r\nContent-Type: text/plain\r\n` +
      `Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}
