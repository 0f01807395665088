import { type FileHandle, mkdir, open as openFile, unlink } from 'node:fs/promises';
import type { Server } from 'node:net';
import { join } from 'node:path';
import { TkadmError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { lockDirectory } from './directory-lock.ts';
import { EventWindow } from './event-window.ts';
import { FoldedDatabase } from './folded-database.ts';
import { LayeredState } from './layered-state.ts';
import { formatLogRecord, type LogRecord } from './log-record.ts';
import { logPath, type Recovered, recoverLogs } from './log-recovery.ts';
import { LogWriter } from './log-writer.ts';
import type {
  RangeOptions,
  RangeResult,
  Store,
  StoredValue,
  StoreEvent,
  StoreStats,
  WriteResult,
} from './types.ts';

export interface EmbeddedStoreOptions {
  readonly directory: string;
  readonly logger: Logger;
  /** Writes are refused when the files are larger than this; default 2 GiB, as etcd's. */
  readonly maxSizeBytes?: number;
  /** A log of this size is folded into the database; default 16 MiB. */
  readonly maxLogBytes?: number;
  readonly maxWindowEvents?: number;
  readonly maxWindowBytes?: number;
}

interface PendingWrite {
  readonly record: LogRecord;
  readonly previous: StoredValue | undefined;
  readonly resolve: (result: WriteResult) => void;
  readonly reject: (error: unknown) => void;
}

interface Watcher {
  readonly prefix: string;
  readonly onEvents: (events: readonly StoreEvent[]) => void;
}

const MIB = 1024 * 1024;

/**
 * The store of a single control-plane node: an append-only log that every write reaches with fdatasync(2)
 * before it is acknowledged (writes that arrive during a sync share the next one), and an LMDB database
 * into which full logs are folded. Recovery is the database and then the logs that are still there.
 * docs/decisions/store.md has the measurements.
 */
export class EmbeddedStore implements Store {
  readonly #options: Required<EmbeddedStoreOptions>;
  readonly #database: FoldedDatabase;
  readonly #directory: FileHandle;
  readonly #lock: Server;
  readonly #window: EventWindow;
  readonly #state: LayeredState;
  readonly #watchers = new Set<Watcher>();
  /** Given a revision but not yet on disk. */
  readonly #unsynced = new Map<
    string,
    { readonly revision: number; readonly stored: StoredValue | undefined }
  >();
  #queue: PendingWrite[] = [];
  #isWriting = false;
  #idle: (() => void)[] = [];
  #log: LogWriter;
  #oldLogs: readonly string[];
  #fold: Promise<void> | undefined;
  #assignedRevision: number;
  #revision: number;
  #failure: unknown;

  private constructor(parts: {
    readonly options: Required<EmbeddedStoreOptions>;
    readonly database: FoldedDatabase;
    readonly directory: FileHandle;
    readonly lock: Server;
    readonly log: LogWriter;
    readonly recovered: Recovered;
  }) {
    this.#options = parts.options;
    this.#database = parts.database;
    this.#directory = parts.directory;
    this.#lock = parts.lock;
    this.#log = parts.log;
    this.#state = new LayeredState(parts.database, parts.recovered.overlay);
    this.#oldLogs = parts.recovered.logs;
    this.#revision = parts.recovered.revision;
    this.#assignedRevision = parts.recovered.revision;
    this.#window = new EventWindow({
      maxEvents: parts.options.maxWindowEvents,
      maxBytes: parts.options.maxWindowBytes,
      revision: parts.recovered.revision,
    });
  }

  /**
   * Opens or creates the store in a directory.
   * @throws STORE_LOCKED when another process has it open, STORE_CORRUPT when acknowledged data is damaged.
   */
  static async open(given: EmbeddedStoreOptions): Promise<EmbeddedStore> {
    const options = {
      maxSizeBytes: 2048 * MIB,
      maxLogBytes: 16 * MIB,
      maxWindowEvents: 2000,
      maxWindowBytes: 4 * MIB,
      ...given,
    };
    await mkdir(options.directory, { recursive: true, mode: 0o700 });
    const lock = await lockDirectory(options.directory);
    const directory = await openFile(options.directory, 'r');
    const database = await FoldedDatabase.open(join(options.directory, 'state.mdb'));
    try {
      const recovered = await recoverLogs(options.directory, database.revision);
      const log = await LogWriter.create(logPath(options.directory, recovered.revision + 1), directory);
      const store = new EmbeddedStore({ options, database, directory, lock, log, recovered });
      if (recovered.logs.length > 0) void store.#startFold();
      return store;
    } catch (error) {
      await database.close();
      await directory.close();
      lock.close();
      throw error;
    }
  }

  async get(key: string): Promise<StoredValue | undefined> {
    return this.#state.get(key);
  }

  put(key: string, value: Buffer, expected: number): Promise<WriteResult> {
    const { sizeBytes, maxSizeBytes } = this.stats();
    if (sizeBytes + value.length > maxSizeBytes) {
      return Promise.reject(
        new TkadmError('STORE_FULL', `Cannot write "${key}": the store has ${sizeBytes} bytes`, {
          hint: 'Delete objects, or give the store more room',
        }),
      );
    }
    return this.#write(key, value, expected);
  }

  delete(key: string, expected: number): Promise<WriteResult> {
    return this.#write(key, undefined, expected);
  }

  async range(prefix: string, options: RangeOptions = {}): Promise<RangeResult> {
    const revision = options.revision ?? this.#revision;
    if (revision > this.#revision) {
      throw new TkadmError(
        'STORE_FUTURE_REVISION',
        `Cannot read revision ${revision}: newest is ${this.#revision}`,
      );
    }
    this.#requireKnown(revision);
    const found = this.#state.collect(prefix, options.after ?? '');
    this.#undo(found, prefix, revision);
    const keys = [...found.keys()].filter((key) => key > (options.after ?? '')).sort();
    const limit = options.limit || keys.length;
    const values = keys.slice(0, limit).map((key) => found.get(key)!);
    return { values, hasMore: keys.length > limit, revision };
  }

  watch(
    prefix: string,
    afterRevision: number,
    onEvents: (events: readonly StoreEvent[]) => void,
  ): () => void {
    this.#requireKnown(afterRevision);
    const past = this.#window.after(afterRevision).filter((event) => event.key.startsWith(prefix));
    if (past.length > 0) onEvents(past);
    const watcher = { prefix, onEvents };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  // The only writer is this process, whose acknowledged writes every watch has been told of.
  async confirm(): Promise<void> {}

  async compact(revision: number): Promise<void> {
    this.#window.compact(Math.min(revision, this.#revision));
  }

  stats(): StoreStats {
    return {
      revision: this.#revision,
      compactedRevision: this.#window.oldestRevision,
      sizeBytes: this.#database.sizeBytes + this.#log.sizeBytes,
      maxSizeBytes: this.#options.maxSizeBytes,
      hasFailed: this.#failure !== undefined,
    };
  }

  async close(): Promise<void> {
    await this.#drained();
    await this.#fold;
    this.#failure ??= new TkadmError('STORE_FAILED', 'Cannot write: the store is closed');
    await this.#log.close();
    await this.#database.close();
    await this.#directory.close();
    await new Promise((resolve) => this.#lock.close(resolve));
  }

  #write(key: string, value: Buffer | undefined, expected: number): Promise<WriteResult> {
    if (this.#failure) return Promise.reject(this.#failure);
    const unsynced = this.#unsynced.get(key);
    const current = unsynced ? unsynced.stored : this.#state.get(key);
    if ((current?.modRevision ?? 0) !== expected || (value === undefined && !current)) {
      return this.#refuse(current);
    }
    this.#assignedRevision += 1;
    const revision = this.#assignedRevision;
    const createRevision = current?.createRevision ?? revision;
    const stored = value ? { key, value, createRevision, modRevision: revision } : undefined;
    this.#unsynced.set(key, { revision, stored });
    return new Promise((resolve, reject) => {
      const record = { key, value, revision, createRevision };
      this.#queue.push({ record, previous: current, resolve, reject });
      if (!this.#isWriting) this.#startWriting();
    });
  }

  // What refused the write may itself not be on disk yet: a reader of `current` must not see it before.
  async #refuse(current: StoredValue | undefined): Promise<WriteResult> {
    if (current && current.modRevision > this.#revision) await this.#drained();
    return { isCommitted: false, current };
  }

  #startWriting(): void {
    this.#isWriting = true;
    // Requests that were read from sockets in this turn join the first sync.
    setImmediate(() => void this.#writeQueue());
  }

  async #writeQueue(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#queue;
      this.#queue = [];
      try {
        await this.#log.append(Buffer.concat(batch.map((write) => formatLogRecord(write.record))));
      } catch (error) {
        this.#fail(error, batch);
        break;
      }
      this.#commit(batch);
      if (this.#log.sizeBytes >= this.#options.maxLogBytes && !this.#fold) await this.#rotate();
    }
    this.#isWriting = false;
    for (const resume of this.#idle.splice(0)) resume();
  }

  #commit(batch: readonly PendingWrite[]): void {
    const events: StoreEvent[] = [];
    for (const { record, previous } of batch) {
      const { key, value, revision, createRevision } = record;
      const stored = value ? { key, value, createRevision, modRevision: revision } : undefined;
      this.#state.set(key, stored);
      if (this.#unsynced.get(key)?.revision === revision) this.#unsynced.delete(key);
      const event: StoreEvent = {
        type: value ? 'PUT' : 'DELETE',
        key,
        revision,
        createRevision,
        value,
        previous,
      };
      this.#window.push(event);
      events.push(event);
      this.#revision = revision;
    }
    for (const watcher of this.#watchers) {
      const matching =
        watcher.prefix === '/registry/'
          ? events
          : events.filter((event) => event.key.startsWith(watcher.prefix));
      if (matching.length > 0) watcher.onEvents(matching);
    }
    for (const { record, resolve } of batch) resolve({ isCommitted: true, revision: record.revision });
  }

  #fail(error: unknown, batch: readonly PendingWrite[]): void {
    this.#failure = new TkadmError('STORE_FAILED', 'Cannot write to the store: its log cannot be written', {
      cause: error,
      hint: `Look at the disk of "${this.#options.directory}", then restart the API server`,
    });
    this.#options.logger.error('log cannot be written', { error: String(error) });
    for (const write of [...batch, ...this.#queue]) write.reject(this.#failure);
    this.#queue = [];
  }

  /** Starts a new log and folds what the old ones hold into the database beside further writes. */
  async #rotate(): Promise<void> {
    const full = this.#log;
    this.#log = await LogWriter.create(logPath(this.#options.directory, this.#revision + 1), this.#directory);
    await full.close();
    this.#oldLogs = [...this.#oldLogs, full.path];
    void this.#startFold();
  }

  #startFold(): Promise<void> {
    this.#fold = this.#foldLogs()
      .catch((error) => this.#options.logger.error('logs are kept: folding failed', { error: String(error) }))
      .finally(() => {
        this.#fold = undefined;
      });
    return this.#fold;
  }

  async #foldLogs(): Promise<void> {
    const logs = this.#oldLogs;
    await this.#state.fold(this.#revision);
    this.#oldLogs = this.#oldLogs.slice(logs.length);
    for (const path of logs) await unlink(path);
  }

  #drained(): Promise<void> {
    if (!this.#isWriting) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #undo(found: Map<string, StoredValue>, prefix: string, revision: number): void {
    if (revision === this.#revision) return;
    for (const event of [...this.#window.after(revision)].reverse()) {
      if (!event.key.startsWith(prefix)) continue;
      if (event.previous) found.set(event.key, event.previous);
      else found.delete(event.key);
    }
  }

  #requireKnown(revision: number): void {
    if (revision >= this.#window.oldestRevision) return;
    throw new TkadmError(
      'STORE_COMPACTED',
      `Cannot read revision ${revision}: compacted up to ${this.#window.oldestRevision}`,
    );
  }
}
