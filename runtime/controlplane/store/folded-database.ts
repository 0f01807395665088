import { stat } from 'node:fs/promises';
import type { RootDatabase } from 'lmdb';
import type { StoredValue } from './types.ts';

const REVISION_KEY = Buffer.from('revision');
/** Create and modify revision, before the value. */
const VALUE_HEADER_BYTES = 16;

/** The LMDB database that full logs are folded into: values by key, and the revision of the last log. */
export class FoldedDatabase {
  readonly #path: string;
  readonly #database: RootDatabase<Buffer, Buffer>;
  #sizeBytes = 0;

  private constructor(path: string, database: RootDatabase<Buffer, Buffer>) {
    this.#path = path;
    this.#database = database;
  }

  /** Opens the file, or makes it. */
  static async open(path: string): Promise<FoldedDatabase> {
    const { open } = await import('lmdb');
    const database = open<Buffer, Buffer>({
      path,
      encoding: 'binary',
      keyEncoding: 'binary',
      noSubdir: true,
      // The log is the commit; a fold must be whole on disk before its logs go.
      overlappingSync: false,
      maxReaders: 8,
    });
    const folded = new FoldedDatabase(path, database);
    await folded.#measure();
    return folded;
  }

  /** Of the file, as the last fold has left it. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** That of the last write that was folded; 1 for a new store. */
  get revision(): number {
    const head = this.#database.get(REVISION_KEY);
    return head ? Buffer.from(head).readDoubleLE(0) : 1;
  }

  get(key: string): StoredValue | undefined {
    const bytes = this.#database.get(Buffer.from(key));
    return bytes === undefined ? undefined : parseStored(key, bytes);
  }

  /** The values whose keys begin with a prefix, in order, from the key `after` on. */
  *range(prefix: string, after: string): Generator<StoredValue> {
    const start = Buffer.from(after > prefix ? after : prefix);
    for (const { key, value } of this.#database.getRange({ start })) {
      const name = Buffer.from(key).toString('utf8');
      if (!name.startsWith(prefix)) return;
      yield parseStored(name, value);
    }
  }

  /** Takes over changes up to a revision, undefined for a deletion; resolves when they are on disk. */
  async fold(changes: ReadonlyMap<string, StoredValue | undefined>, revision: number): Promise<void> {
    await this.#database.batch(() => {
      for (const [key, stored] of changes) {
        if (stored) this.#database.put(Buffer.from(key), formatStored(stored));
        else this.#database.remove(Buffer.from(key));
      }
      const head = Buffer.alloc(8);
      head.writeDoubleLE(revision);
      this.#database.put(REVISION_KEY, head);
    });
    await this.#database.flushed;
    await this.#measure();
  }

  close(): Promise<void> {
    return this.#database.close();
  }

  async #measure(): Promise<void> {
    this.#sizeBytes = (await stat(this.#path)).size;
  }
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
