import { isTkadmError, TkadmError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { waitFor } from '../../base/time.ts';
import { EtcdClient, type EtcdCredentials, type EtcdRequest } from './etcd-client.ts';
import { startCompactor } from './etcd-compactor.ts';
import { EtcdConfirmation } from './etcd-confirmation.ts';
import { rangeEnd } from './etcd-messages.ts';
import { EtcdWatch, toStored } from './etcd-watch.ts';
import { KEY_PREFIX } from './keys.ts';
import type {
  QuietRange,
  RangeOptions,
  RangeResult,
  SharedStore,
  StoredValue,
  StoreEvent,
  StoreStats,
  WriteResult,
} from './types.ts';

export interface EtcdStoreOptions {
  readonly endpoints: readonly string[];
  readonly credentials: EtcdCredentials;
  /** What stands for "/registry" in etcd's keys. */
  readonly prefix: string;
  readonly logger: Logger;
  /** A watch has come to its end because etcd was compacted meanwhile: memory has to be loaded anew. */
  readonly onLost: (error: TkadmError) => void;
  /** How often history is forgotten; 0: never. */
  readonly compactionIntervalMs: number;
  /** How long one member may take for one call; default 5 s. */
  readonly attemptTimeoutMs?: number;
  /** How long the first answer is waited for: etcd may start at the same time; default 20 s, as upstream's. */
  readonly openTimeoutMs?: number;
}

/** Below the prefix, so that watches see it, and no resource's. */
const MARK_KEY = `${KEY_PREFIX}tkadm.io/mark`;
const LOOK_EVERY_MS = 5000;

/**
 * etcd v3 as the store of any number of API servers. Reads are linearizable. Values are JSON, which kube-apiserver
 * reads too. docs/decisions/etcd.md says how several servers stay consistent.
 */
export class EtcdStore implements SharedStore {
  readonly #client: EtcdClient;
  readonly #options: EtcdStoreOptions;
  readonly #watches = new Set<EtcdWatch>();
  readonly #looking: NodeJS.Timeout;
  readonly #endCompactor: () => void;
  readonly #confirmation: EtcdConfirmation;
  #revision = 0;
  #compactedRevision = 0;
  #sizeBytes = 0;
  #hasFailed = false;

  private constructor(options: EtcdStoreOptions) {
    this.#options = options;
    this.#client = new EtcdClient({ ...options, attemptTimeoutMs: options.attemptTimeoutMs ?? 5000 });
    this.#confirmation = new EtcdConfirmation({
      watches: this.#watches,
      readRevision: () => this.#readRevision(),
      writeMark: () => this.#writeMark(),
    });
    this.#looking = setInterval(() => void this.#look(), LOOK_EVERY_MS);
    this.#looking.unref();
    const { compactionIntervalMs: intervalMs, logger } = options;
    this.#endCompactor = intervalMs > 0 ? startCompactor(this.#client, { intervalMs, logger }) : () => {};
  }

  /** Connects to the first member that answers. @throws STORE_FAILED when none does, FLAG_INVALID */
  static async open(options: EtcdStoreOptions): Promise<EtcdStore> {
    const store = new EtcdStore(options);
    try {
      await waitFor(() => store.#readRevision(), {
        subject: `etcd at ${options.endpoints.join(', ')}`,
        timeoutMs: options.openTimeoutMs ?? 20_000,
      }).catch((error) => {
        throw isTkadmError(error, 'WAIT_TIMEOUT') ? error.cause : error;
      });
      await store.#readSize();
      return store;
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  /** Shows new certificates from now on; connections that are open stay. */
  setCredentials(credentials: EtcdCredentials): void {
    this.#client.setCredentials(credentials);
  }

  async get(key: string): Promise<StoredValue | undefined> {
    const { response } = await this.#client.call('range', { key: this.#bytes(key) });
    this.#saw(response.header?.revision);
    return response.kvs[0] && this.#stored(response.kvs[0]);
  }

  put(key: string, value: Buffer, expected: number): Promise<WriteResult> {
    return this.#write(key, value, { expected });
  }

  putIfQuiet(key: string, value: Buffer, expected: number, quiet: QuietRange): Promise<WriteResult> {
    return this.#write(key, value, { expected, quiet });
  }

  async putTemporary(key: string, value: Buffer, ttlSeconds: number): Promise<void> {
    const { response } = await this.#client.call('leaseGrant', { ttlSeconds });
    await this.#client.call('put', { key: this.#bytes(key), value, lease: response.id });
  }

  async delete(key: string, expected: number): Promise<WriteResult> {
    if (expected === 0) return { isCommitted: false, current: await this.get(key) };
    return this.#write(key, undefined, { expected });
  }

  async range(prefix: string, options: RangeOptions = {}): Promise<RangeResult> {
    // "\0" is the smallest suffix: the first key behind `after`.
    const start = options.after ? `${options.after}\0` : prefix;
    const { response } = await this.#client.call('range', {
      key: this.#bytes(start),
      rangeEnd: rangeEnd(this.#path(prefix)),
      limit: options.limit ?? 0,
      revision: options.revision ?? 0,
    });
    const newest = response.header?.revision ?? 0;
    this.#saw(newest);
    return {
      values: response.kvs.map((kv) => this.#stored(kv)),
      hasMore: response.more,
      revision: options.revision ?? newest,
    };
  }

  watch(
    prefix: string,
    afterRevision: number,
    onEvents: (events: readonly StoreEvent[]) => void,
  ): () => void {
    if (afterRevision + 1 < this.#compactedRevision) {
      throw new TkadmError(
        'STORE_COMPACTED',
        `Cannot watch changes behind revision ${afterRevision}: etcd was compacted to ${this.#compactedRevision}`,
      );
    }
    const watch = new EtcdWatch({
      client: this.#client,
      prefix: this.#path(prefix),
      afterRevision,
      toKey: (key) => this.#key(key),
      onEvents: (events) => {
        this.#saw(events.at(-1)?.revision);
        onEvents(events);
      },
      onLost: this.#options.onLost,
      logger: this.#options.logger,
    });
    this.#watches.add(watch);
    return () => {
      this.#watches.delete(watch);
      watch.stop();
    };
  }

  confirm(): Promise<void> {
    return this.#confirmation.confirm();
  }

  async compact(revision: number): Promise<void> {
    const wanted = Math.min(revision, this.#revision);
    try {
      await this.#client.call('compact', { revision: wanted });
    } catch (error) {
      if (!isTkadmError(error, 'STORE_COMPACTED')) throw error;
    }
    this.#compactedRevision = Math.max(this.#compactedRevision, wanted);
  }

  stats(): StoreStats {
    return {
      revision: this.#revision,
      compactedRevision: this.#compactedRevision,
      sizeBytes: this.#sizeBytes,
      maxSizeBytes: Number.POSITIVE_INFINITY,
      hasFailed: this.#hasFailed,
    };
  }

  async close(): Promise<void> {
    clearInterval(this.#looking);
    this.#endCompactor();
    for (const watch of this.#watches) watch.stop();
    this.#watches.clear();
    this.#client.close();
  }

  async #write(
    key: string,
    value: Buffer | undefined,
    { expected, quiet }: { readonly expected: number; readonly quiet?: QuietRange },
  ): Promise<WriteResult> {
    const bytes = this.#bytes(key);
    const { response, attempts } = await this.#client.call('txn', {
      compare: [
        { result: 'EQUAL', target: 'MOD', key: bytes, modRevision: expected },
        ...(quiet ? [this.#compareQuiet(quiet)] : []),
      ],
      success: [value ? { put: { key: bytes, value } } : { remove: { key: bytes } }],
      failure: [{ range: { key: bytes } }],
    });
    const revision = response.header?.revision ?? 0;
    this.#saw(revision);
    if (response.succeeded) return this.#committed(key, revision);
    const found = response.responses[0]?.range?.kvs[0];
    const current = found && this.#stored(found);
    // The first of two attempts may have been done although its answer was lost.
    if (attempts > 1 && isDone(current, value)) {
      await this.confirm();
      return { isCommitted: true, revision: current?.modRevision ?? revision };
    }
    return { isCommitted: false, current };
  }

  async #committed(key: string, revision: number): Promise<WriteResult> {
    const path = this.#path(key);
    await Promise.all(
      [...this.#watches].filter((watch) => watch.covers(path)).map((watch) => watch.told(revision)),
    );
    return { isCommitted: true, revision };
  }

  #compareQuiet({ prefix, revision }: QuietRange): NonNullable<EtcdRequest<'txn'>['compare']>[number] {
    return {
      result: 'LESS',
      target: 'MOD',
      key: this.#bytes(prefix),
      rangeEnd: rangeEnd(this.#path(prefix)),
      modRevision: revision + 1,
    };
  }

  async #readRevision(): Promise<number> {
    const { response } = await this.#client.call('range', { key: this.#bytes(MARK_KEY), keysOnly: true });
    const revision = response.header?.revision ?? 0;
    this.#saw(revision);
    this.#hasFailed = false;
    return revision;
  }

  async #writeMark(): Promise<number> {
    const { response } = await this.#client.call('put', { key: this.#bytes(MARK_KEY) });
    return response.header?.revision ?? 0;
  }

  async #readSize(): Promise<void> {
    const { response } = await this.#client.call('status', {});
    this.#sizeBytes = response.sizeBytes;
  }

  async #look(): Promise<void> {
    try {
      await this.confirm();
      await this.#readSize();
    } catch (error) {
      if (!this.#hasFailed) this.#options.logger.error('etcd does not answer', { error: String(error) });
      this.#hasFailed = true;
    }
  }

  #saw(revision: number | undefined): void {
    if (revision !== undefined && revision > this.#revision) this.#revision = revision;
  }

  #stored(kv: Parameters<typeof toStored>[0]): StoredValue {
    return toStored(kv, (key) => this.#key(key));
  }

  /** "/registry/pods/a" → "/PREFIX/pods/a" */
  #path(key: string): string {
    return `${this.#options.prefix}/${key.slice(KEY_PREFIX.length)}`;
  }

  #bytes(key: string): Buffer {
    return Buffer.from(this.#path(key));
  }

  #key(path: string): string {
    return `${KEY_PREFIX}${path.slice(this.#options.prefix.length + 1)}`;
  }
}

/** True when a key is as a write would have left it. */
function isDone(current: StoredValue | undefined, value: Buffer | undefined): boolean {
  if (value === undefined) return current === undefined;
  return current?.value.equals(value) ?? false;
}
