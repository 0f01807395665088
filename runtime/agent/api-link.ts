import { ApiClient } from '../api/client.ts';
import { type ClientConfig, loadClientConfig } from '../api/kubeconfig.ts';
import { TkadmError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { sleep } from '../base/time.ts';

/** One set of credentials in use; `signal` ends when they are replaced or the agent stops. */
export interface ApiSession {
  readonly client: ApiClient;
  readonly signal: AbortSignal;
}

export interface ApiLinkOptions {
  readonly signal: AbortSignal;
  readonly log: Logger;
}

const USER_AGENT = 'tkadm-agent';

/**
 * The agent's way to the API server: absent at first, replaced whole when the client certificate rotates.
 * Everything that follows the API runs inside a session and is started anew with the next.
 */
export class ApiLink {
  readonly #options: ApiLinkOptions;
  #session: (ApiSession & { readonly end: () => void }) | undefined;
  readonly #runners: ((session: ApiSession) => void)[] = [];

  constructor(options: ApiLinkOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', () => this.#end(), { once: true });
  }

  /** The client in use, or undefined before there are credentials. */
  get client(): ApiClient | undefined {
    return this.#session?.client;
  }

  /** The client in use. @throws AGENT_DISCONNECTED before there are credentials. */
  requireClient(): ApiClient {
    if (this.#session) return this.#session.client;
    throw new TkadmError('AGENT_DISCONNECTED', 'Cannot ask the API server: the node has no credentials yet');
  }

  /** Runs `start` with each session, at once with a present one. */
  onSession(start: (session: ApiSession) => void): void {
    this.#runners.push(start);
    if (this.#session) start(this.#session);
  }

  /** Replaces the credentials. */
  use(config: ClientConfig): void {
    if (this.#options.signal.aborted) return;
    this.#end();
    const controller = new AbortController();
    const client = new ApiClient(config, USER_AGENT);
    this.#session = {
      client,
      signal: controller.signal,
      end: () => {
        controller.abort();
        client.close();
      },
    };
    this.#options.log.info('Using API server', { server: config.server });
    for (const start of this.#runners) start(this.#session);
  }

  /** Reads the kubeconfig, again and again until it is there and whole. */
  async load(path: string): Promise<void> {
    let lastMessage = '';
    while (!this.#options.signal.aborted) {
      try {
        this.use(await loadClientConfig(path));
        return;
      } catch (error) {
        const { message } = error as Error;
        if (message !== lastMessage) this.#options.log.info(`Waiting for a kubeconfig: ${message}`);
        lastMessage = message;
      }
      await sleep(200, this.#options.signal).catch(() => {});
    }
  }

  #end(): void {
    this.#session?.end();
    this.#session = undefined;
  }
}
