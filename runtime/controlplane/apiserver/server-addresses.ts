import type { Logger } from '../../base/log.ts';
import { KEY_PREFIX } from '../store/keys.ts';
import { isSharedStore, type Store } from '../store/types.ts';

/** Where kube-apiserver's lease reconciler keeps one key for each server. */
const DIRECTORY = `${KEY_PREFIX}masterleases/`;
/** A server that is gone is forgotten after this time (upstream's). */
const TTL_SECONDS = 15;
const INTERVAL_MS = 10_000;

export interface ServerAddressesOptions {
  readonly store: Store;
  /** This server's own. */
  readonly address: string;
  readonly logger: Logger;
}

/**
 * The addresses of the API servers that work on one store, each kept alive by its own server (upstream's endpoint
 * reconciler "lease"). With the embedded store it is this server's alone.
 */
export class ServerAddresses {
  readonly #options: ServerAddressesOptions;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ServerAddressesOptions) {
    this.#options = options;
  }

  /** Announces this server; returns the addresses of all, in order. */
  async announce(): Promise<readonly string[]> {
    const { store, address } = this.#options;
    if (!isSharedStore(store)) return [address];
    const value = Buffer.from(JSON.stringify(buildRecord(address)));
    await store.putTemporary(`${DIRECTORY}${address}`, value, TTL_SECONDS);
    return this.#read();
  }

  /** Announces it again and again, and calls back with the addresses each time. */
  follow(onAddresses: (addresses: readonly string[]) => Promise<void>): void {
    if (!isSharedStore(this.#options.store)) return;
    this.#timer = setInterval(() => {
      this.announce()
        .then(onAddresses)
        .catch((error) =>
          this.#options.logger.warn('the addresses of the API servers stay', { error: String(error) }),
        );
    }, INTERVAL_MS);
  }

  /** Takes this server back; returns the addresses of the others, undefined when there are none to tell. */
  async leave(): Promise<readonly string[] | undefined> {
    clearInterval(this.#timer);
    const { store, address } = this.#options;
    if (!isSharedStore(store)) return undefined;
    const own = await store.get(`${DIRECTORY}${address}`);
    if (own) await store.delete(own.key, own.modRevision);
    const others = await this.#read();
    return others.length > 0 ? others : undefined;
  }

  async #read(): Promise<readonly string[]> {
    const { values } = await this.#options.store.range(DIRECTORY);
    return values.map(({ key }) => key.slice(DIRECTORY.length));
  }
}

/** What upstream stores, so that both kinds of server may serve one cluster. */
function buildRecord(ip: string): object {
  return { kind: 'Endpoints', apiVersion: 'v1', metadata: {}, subsets: [{ addresses: [{ ip }] }] };
}
