import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type RequestOptions,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { createSecureContext, type SecureContext } from 'node:tls';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import { VERSION } from '../base/version.ts';
import { KeptConnections, type KeptRequestOptions } from './kept-connections.ts';
import type { Container } from './pod.ts';

export interface HttpResult {
  readonly status: number;
  readonly body: string;
}

const MAX_BODY = 10 * 1024;

/**
 * Makes the GETs of probes and hooks, each over a connection of its own, as the kubelet. A TLS handshake is most of what
 * a probe costs both sides, and the control plane has two probes a second; so a container's HTTPS probes share
 * connections for some seconds. A failure on such a connection is none before a new one has failed too.
 */
export class HttpGetter {
  readonly #http = new HttpAgent({ keepAlive: false });
  readonly #https = new HttpsAgent({ keepAlive: false });
  readonly #kept: KeptConnections;
  #context: SecureContext | undefined;

  /** @param now a clock in milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#kept = new KeptConnections(now);
  }

  /** Performs the GET against a pod; certificates are not verified, as in the kubelet. */
  async get(action: core.HTTPGetAction, options: HttpGetOptions): Promise<HttpResult> {
    if (action.scheme !== 'HTTPS') {
      return performHttpGet(action, options, (settings) => httpRequest({ ...settings, agent: this.#http }));
    }
    this.#context ??= createSecureContext();
    const tls = { secureContext: this.#context, rejectUnauthorized: false };
    const fresh = () =>
      performHttpGet(action, options, (settings) =>
        httpsRequest({ ...settings, ...tls, agent: this.#https }),
      );
    const hasOwnConnection = action.httpHeaders?.some(({ name }) => name.toLowerCase() === 'connection');
    if (options.containerId === undefined || hasOwnConnection) return fresh();
    let sent: ClientRequest | undefined;
    const kept = ({ headers, ...settings }: RequestOptions): ClientRequest => {
      const { connection: _close, ...others } = headers as Record<string, string>;
      const own = { ...tls, headers: others, agent: this.#kept, connectionOwner: options.containerId };
      sent = httpsRequest({ ...settings, ...own } as KeptRequestOptions);
      return sent;
    };
    try {
      return await performHttpGet(action, options, kept);
    } catch (error) {
      // A timeout has no code, and there is no time left.
      const isBroken = (error as NodeJS.ErrnoException).code !== undefined;
      if (sent?.reusedSocket && isBroken) return await fresh();
      throw error;
    }
  }
}

export interface HttpGetOptions {
  readonly container: Container;
  readonly podIp: string;
  readonly timeoutMs: number;
  readonly userAgent: string;
  /** Whose connections may be used again; without it there is a new one. */
  readonly containerId?: string | undefined;
}

/**
 * The number of a port given as number or as the name of a container port.
 * @throws Error when the container has no such port.
 */
export function resolvePort(port: number | string, container: Container): number {
  const value = Number(port);
  const found = Number.isInteger(value)
    ? value
    : container.ports?.find(({ name }) => name === port)?.containerPort;
  if (found === undefined || found < 1 || found > 65535) throw new Error(`couldn't find port: ${port}`);
  return found;
}

function performHttpGet(
  action: core.HTTPGetAction,
  options: HttpGetOptions,
  start: (settings: RequestOptions) => ClientRequest,
): Promise<HttpResult> {
  const headers: Record<string, string> = {
    'user-agent': options.userAgent,
    accept: '*/*',
    connection: 'close',
  };
  for (const { name, value } of action.httpHeaders ?? []) headers[name.toLowerCase()] = value;
  const settings: RequestOptions = {
    host: action.host || options.podIp,
    port: resolvePort(action.port, options.container),
    path: (action.path ?? '/').startsWith('/') ? (action.path ?? '/') : `/${action.path}`,
    headers,
  };
  return new Promise((resolve, reject) => {
    const send = start(settings);
    const timer = setTimeout(
      () =>
        send.destroy(new Error('context deadline exceeded (Client.Timeout exceeded while awaiting headers)')),
      options.timeoutMs,
    );
    send.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        if (body.length < MAX_BODY) body += chunk;
      });
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: body.slice(0, MAX_BODY) }));
    });
    send.on('error', reject);
    send.on('close', () => clearTimeout(timer));
    send.end();
  });
}

/** "kube-probe/1.36" as servers know it from the kubelet. */
export const PROBE_USER_AGENT = 'kube-probe/1.36';
/** The user agent of lifecycle hooks. */
export const HOOK_USER_AGENT = `kube-lifecycle/1.36 tkadm/${VERSION}`;
