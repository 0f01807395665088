import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { createSecureContext } from 'node:tls';
import { TkadmError } from '../base/errors.ts';
import type { ClientConfig } from './kubeconfig.ts';

/** A request whose body, if any, is ready to be sent. */
export interface RawRequest {
  readonly method: string;
  /** Path below the server's own, with the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | undefined;
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal | undefined;
}

const CONNECT_TIMEOUT_MS = 5_000;

/** Kept-alive connections to one API server; its address and the credentials may be replaced. */
export class Connections {
  #config: ClientConfig;
  #base: URL;
  #agent: HttpsAgent | HttpAgent | undefined;
  readonly #retired = new Set<HttpsAgent | HttpAgent>();

  constructor(config: ClientConfig) {
    this.#config = config;
    this.#base = new URL(config.server);
  }

  get config(): ClientConfig {
    return this.#config;
  }

  /**
   * Connections from now on are made with this; those that are open serve what runs on them, and are closed
   * after `retireMs`.
   */
  replace(config: ClientConfig, retireMs: number): void {
    if (this.#agent) this.#retire(this.#agent, retireMs);
    this.#config = config;
    this.#base = new URL(config.server);
    this.#agent = undefined;
  }

  /** Closes idle connections; requests under way end with an error. */
  close(): void {
    this.#agent?.destroy();
    for (const agent of this.#retired) agent.destroy();
  }

  /** Performs a request and returns the answer once its headers are there, whatever it is. @throws API_UNREACHABLE */
  send(raw: RawRequest): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const request = this.#start(raw, reject);
      if (!request) return;
      let isAnswered = false;
      request.on('response', (response) => {
        isAnswered = true;
        resolve(response);
      });
      request.on('error', (error: NodeJS.ErrnoException) => {
        if (raw.signal?.aborted) return reject(raw.signal.reason);
        // A kept-alive connection that the server closed while it was idle: nothing was processed.
        if (!isAnswered && request.reusedSocket && error.code === 'ECONNRESET')
          return resolve(this.send(raw));
        reject(unreachable(this.#config.server, error));
      });
      // A SYN that went out before the service proxy's rules were there is never answered, however often it is
      // sent again: only a new connection, from another port, gets through.
      request.on('socket', (socket) => {
        if (!socket.connecting) return;
        const timeoutMs = this.#config.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
        const end = () => request.destroy(new Error(`no connection within ${timeoutMs} ms`));
        const timer = setTimeout(end, timeoutMs);
        for (const event of ['connect', 'close'] as const) socket.once(event, () => clearTimeout(timer));
      });
      if (raw.timeoutMs) {
        const end = () => request.destroy(new Error(`no answer within ${raw.timeoutMs} ms`));
        const timer = setTimeout(end, raw.timeoutMs);
        request.on('close', () => clearTimeout(timer));
      }
      request.end(raw.body);
    });
  }

  #start({ method, path, headers, signal }: RawRequest, reject: (error: Error) => void) {
    const isPlain = this.#base.protocol === 'http:';
    try {
      this.#agent ??= createAgent(this.#config);
    } catch (error) {
      reject(unreachable(this.#config.server, error as Error));
      return undefined;
    }
    return (isPlain ? httpRequest : httpsRequest)({
      agent: this.#agent,
      method,
      path: this.#base.pathname === '/' ? path : `${this.#base.pathname}${path}`,
      headers,
      host: hostOf(this.#base),
      port: this.#base.port || (isPlain ? 80 : 443),
      ...(signal ? { signal } : {}),
    });
  }

  #retire(agent: HttpsAgent | HttpAgent, afterMs: number): void {
    agent.maxFreeSockets = 0;
    for (const sockets of Object.values(agent.freeSockets)) {
      for (const socket of sockets ?? []) socket.destroy();
    }
    this.#retired.add(agent);
    setTimeout(() => {
      agent.destroy();
      this.#retired.delete(agent);
    }, afterMs).unref();
  }
}

function createAgent(config: ClientConfig): HttpsAgent | HttpAgent {
  if (config.server.startsWith('http:')) return new HttpAgent({ keepAlive: true });
  return new HttpsAgent({ keepAlive: true, scheduling: 'lifo', ...tlsOptions(config) });
}

// One context for all connections: PEM texts are parsed once, and are no part of the name that each request's
// pool is looked up by.
function tlsOptions(config: ClientConfig) {
  const host = hostOf(new URL(config.server));
  const isAddress = /^[\d.]+$/.test(host) || host.includes(':');
  return {
    secureContext: createSecureContext({
      ...(config.caPem ? { ca: config.caPem } : {}),
      ...(config.certPem ? { cert: config.certPem } : {}),
      ...(config.keyPem ? { key: config.keyPem } : {}),
    }),
    ...(config.isInsecure ? { rejectUnauthorized: false } : {}),
    ...(config.tlsServerName ? { servername: config.tlsServerName } : isAddress ? {} : { servername: host }),
  };
}

function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

function unreachable(server: string, error: NodeJS.ErrnoException): TkadmError {
  const state = error.message || error.code;
  return new TkadmError('API_UNREACHABLE', `Cannot reach API server "${server}": ${state}`, { cause: error });
}
