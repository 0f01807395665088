import { ApiClient } from '../api/client.ts';
import { followClientConfig } from '../api/follow-kubeconfig.ts';
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
 * The agent's way to the API server: absent at first, replaced whole when it goes to another server. Everything
 * that follows the API runs inside a session and is started anew with the next; new credentials for the same
 * server are taken within the session.
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
    if (this.#session?.client.config.server === config.server) {
      if (isSameIdentity(this.#session.client.config, config)) return;
      this.#options.log.info('Using new credentials', { server: config.server });
      this.#session.client.reconfigure(config);
      return;
    }
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

  /** Uses the kubeconfig from now on, and what it changes to. */
  async follow(path: string): Promise<void> {
    const current = await this.load(path);
    if (!current) return;
    followClientConfig({
      current,
      load: () => loadClientConfig(path),
      onChange: (config) => this.use(config),
      ...this.#options,
    });
  }

  /** Reads the kubeconfig, again and again until it is there and whole; undefined when the agent stops. */
  async load(path: string): Promise<ClientConfig | undefined> {
    let lastMessage = '';
    while (!this.#options.signal.aborted) {
      try {
        const config = await loadClientConfig(path);
        this.use(config);
        return config;
      } catch (error) {
        const { message } = error as Error;
        if (message !== lastMessage) this.#options.log.info(`Waiting for a kubeconfig: ${message}`);
        lastMessage = message;
      }
      await sleep(200, this.#options.signal).catch(() => {});
    }
    return undefined;
  }

  #end(): void {
    this.#session?.end();
    this.#session = undefined;
  }
}

function isSameIdentity(before: ClientConfig, after: ClientConfig): boolean {
  return JSON.stringify(before) === JSON.stringify(after);
}
