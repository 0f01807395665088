import { type AgentOptions, Agent as HttpsAgent, type RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';

/** How long one connection serves: a server that takes no new ones is noticed within this time. */
const MAX_AGE_MS = 10_000;
/** How long a connection waits for its next request: longer than a probe's shortest period, and not much. */
const MAX_IDLE_MS = 2_000;

/** Whose connection a request may use; another container under the same address has others. */
export interface KeptRequestOptions extends RequestOptions {
  readonly connectionOwner?: string | undefined;
}

/** TLS connections that serve several requests of one owner, for a while. */
export class KeptConnections extends HttpsAgent {
  readonly #openedAt = new WeakMap<Duplex, number>();
  readonly #now: () => number;

  /** @param now a clock in milliseconds. */
  constructor(now: () => number, options: AgentOptions = {}) {
    super({ ...options, keepAlive: true, timeout: MAX_IDLE_MS, maxCachedSessions: 256 });
    this.#now = now;
  }

  override getName(options?: KeptRequestOptions): string {
    return `${super.getName(options)}:${options?.connectionOwner ?? ''}`;
  }

  override createConnection(
    ...args: Parameters<HttpsAgent['createConnection']>
  ): ReturnType<HttpsAgent['createConnection']> {
    const socket = super.createConnection(...args);
    if (socket) this.#openedAt.set(socket, this.#now());
    return socket;
  }

  /** Asked by Node.js when a response has ended: true keeps the connection for the next request. */
  override keepSocketAlive(socket: Duplex): boolean {
    const openedAt = this.#openedAt.get(socket);
    if (openedAt === undefined || this.#now() - openedAt >= MAX_AGE_MS) return false;
    // Node.js' type has no result.
    return (super.keepSocketAlive(socket) as unknown) === true;
  }
}
