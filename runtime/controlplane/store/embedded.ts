import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open as openFile, readdir, readFile, stat, unlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { RootDatabase } from 'lmdb';
import { isSystemError, TkadmError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { EventWindow } from './event-window.ts';
import { formatLogRecord, type LogRecord, parseLog } from './log-record.ts';
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
const REVISION_KEY = Buffer.from('revision');
const VALUE_HEADER_BYTES = 16;

/**
 * The store of a single control-plane node: an append-only log that every write reaches with fdatasync(2)
 * before it is acknowledged (writes that arrive during a sync share the next one), and an LMDB database
 * into which full logs are folded. Recovery is the database and then the logs that are still there.
 * docs/decisions/store.md has the measurements.
 */
export class EmbeddedStore implements Store {
  readonly #options: Required<EmbeddedStoreOptions>;
  readonly #database: RootDatabase<Buffer, Buffer>;
  readonly #directory: FileHandle;
  readonly #lock: Server;
  readonly #window: EventWindow;
  readonly #watchers = new Set<Watcher>();
  /** On disk in a log but not yet in the database; undefined: deleted. */
  #overlay = new Map<string, StoredValue | undefined>();
  /** The overlay that is being folded into the database. */
  #folding = new Map<string, StoredValue | undefined>();
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
  #databaseBytes: number;
  #assignedRevision: number;
  #revision: number;
  #failure: unknown;

  private constructor(parts: {
    readonly options: Required<EmbeddedStoreOptions>;
    readonly database: RootDatabase<Buffer, Buffer>;
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
    this.#overlay = parts.recovered.overlay;
    this.#oldLogs = parts.recovered.logs;
    this.#databaseBytes = parts.recovered.databaseBytes;
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
    const database = await openDatabase(join(options.directory, 'state.mdb'));
    try {
      const recovered = await recover(options.directory, database);
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
    return this.#read(key);
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
    const found = this.#collect(prefix, options.after ?? '');
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
      sizeBytes: this.#databaseBytes + this.#log.sizeBytes,
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
    const current = unsynced ? unsynced.stored : this.#read(key);
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
      this.#overlay.set(key, stored);
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
    const revision = this.#revision;
    this.#folding = this.#overlay;
    this.#overlay = new Map();
    try {
      await this.#database.batch(() => {
        for (const [key, stored] of this.#folding) {
          if (stored) this.#database.put(Buffer.from(key), formatStored(stored));
          else this.#database.remove(Buffer.from(key));
        }
        const head = Buffer.alloc(8);
        head.writeDoubleLE(revision);
        this.#database.put(REVISION_KEY, head);
      });
      await this.#database.flushed;
    } catch (error) {
      for (const [key, stored] of this.#overlay) this.#folding.set(key, stored);
      this.#overlay = this.#folding;
      this.#folding = new Map();
      throw error;
    }
    this.#folding = new Map();
    this.#oldLogs = this.#oldLogs.slice(logs.length);
    for (const path of logs) await unlink(path);
    this.#databaseBytes = await fileBytes(join(this.#options.directory, 'state.mdb'));
  }

  #drained(): Promise<void> {
    if (!this.#isWriting) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #read(key: string): StoredValue | undefined {
    if (this.#overlay.has(key)) return this.#overlay.get(key);
    if (this.#folding.has(key)) return this.#folding.get(key);
    const bytes = this.#database.get(Buffer.from(key));
    return bytes === undefined ? undefined : parseStored(key, bytes);
  }

  #collect(prefix: string, after: string): Map<string, StoredValue> {
    const found = new Map<string, StoredValue>();
    const start = Buffer.from(after > prefix ? after : prefix);
    for (const { key, value } of this.#database.getRange({ start })) {
      const name = Buffer.from(key).toString('utf8');
      if (!name.startsWith(prefix)) break;
      found.set(name, parseStored(name, value));
    }
    for (const layer of [this.#folding, this.#overlay]) {
      for (const [key, stored] of layer) {
        if (!key.startsWith(prefix)) continue;
        if (stored) found.set(key, stored);
        else found.delete(key);
      }
    }
    return found;
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

interface Recovered {
  readonly overlay: Map<string, StoredValue | undefined>;
  readonly logs: readonly string[];
  readonly revision: number;
  readonly databaseBytes: number;
}

async function openDatabase(path: string): Promise<RootDatabase<Buffer, Buffer>> {
  const { open } = await import('lmdb');
  return open<Buffer, Buffer>({
    path,
    encoding: 'binary',
    keyEncoding: 'binary',
    noSubdir: true,
    // The log is the commit; a fold must be whole on disk before its logs go.
    overlappingSync: false,
    maxReaders: 8,
  });
}

async function recover(directory: string, database: RootDatabase<Buffer, Buffer>): Promise<Recovered> {
  const head = database.get(REVISION_KEY);
  let revision = head ? Buffer.from(head).readDoubleLE(0) : 1;
  const overlay = new Map<string, StoredValue | undefined>();
  const names = (await readdir(directory)).filter((name) => name.startsWith('log-')).sort();
  const logs = names.map((name) => join(directory, name));
  for (const path of logs) {
    const bytes = await readFile(path);
    const { records, readableBytes } = parseLog(bytes);
    if (readableBytes < bytes.length) await cutLog(path, readableBytes);
    for (const record of records) {
      if (record.revision <= revision) continue;
      if (record.revision !== revision + 1) throw corrupt(path, `revision ${revision + 1} is missing`);
      revision = record.revision;
      const { key, value, createRevision } = record;
      overlay.set(key, value ? { key, value, createRevision, modRevision: revision } : undefined);
    }
  }
  return { overlay, logs, revision, databaseBytes: await fileBytes(join(directory, 'state.mdb')) };
}

// What cannot be read at a log's end was being written, so nobody was told that it had succeeded; had more
// been lost, the next log's first revision would not follow.
async function cutLog(path: string, readableBytes: number): Promise<void> {
  const file = await openFile(path, 'r+');
  try {
    await file.truncate(readableBytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

function corrupt(path: string, state: string): TkadmError {
  return new TkadmError('STORE_CORRUPT', `Cannot read store log "${path}": ${state}`, {
    hint: 'Restore the store directory from a backup',
  });
}

async function fileBytes(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return 0;
    throw error;
  }
}

// An abstract socket named by the directory's inode: the kernel frees it when the process dies.
async function lockDirectory(directory: string): Promise<Server> {
  const { dev, ino } = await stat(directory);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        isSystemError(error, 'EADDRINUSE')
          ? new TkadmError('STORE_LOCKED', `Cannot open store "${directory}": another process has it open`)
          : error,
      ),
    );
    server.listen(`\0tkadm-store-${dev}-${ino}`, resolve);
  });
  server.unref();
  return server;
}

// In order of their first revision; an empty log of an earlier start may have the same one.
function logPath(directory: string, firstRevision: number): string {
  return join(directory, `log-${String(firstRevision).padStart(16, '0')}-${randomUUID().slice(0, 8)}`);
}

function formatStored(stored: StoredValue): Buffer {
  const bytes = Buffer.allocUnsafe(VALUE_HEADER_BYTES + stored.value.length);
  bytes.writeDoubleLE(stored.createRevision, 0);
  bytes.writeDoubleLE(stored.modRevision, 8);
  stored.value.copy(bytes, VALUE_HEADER_BYTES);
  return bytes;
}

function parseStored(key: string, bytes: Buffer): StoredValue {
  return {
    key,
    value: Buffer.from(bytes.subarray(VALUE_HEADER_BYTES)),
    createRevision: bytes.readDoubleLE(0),
    modRevision: bytes.readDoubleLE(8),
  };
}
