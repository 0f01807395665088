/** A key's newest value. Revisions are etcd's: one counter that grows with every write of any key. */
export interface StoredValue {
  readonly key: string;
  readonly value: Buffer;
  readonly createRevision: number;
  readonly modRevision: number;
}

/** One committed change. `previous` is what the key held before, when the store still knows it. */
export interface StoreEvent {
  readonly type: 'PUT' | 'DELETE';
  readonly key: string;
  readonly revision: number;
  readonly createRevision: number;
  /** undefined for DELETE. */
  readonly value: Buffer | undefined;
  readonly previous: StoredValue | undefined;
}

/** A compare-and-swap's outcome; when it did not apply, `current` is what is there instead. */
export type WriteResult =
  | { readonly isCommitted: true; readonly revision: number }
  | { readonly isCommitted: false; readonly current: StoredValue | undefined };

export interface RangeOptions {
  /** At most this many values; 0 or absent: all. */
  readonly limit?: number;
  /** Only keys behind this one. */
  readonly after?: string;
  /** The state as of this revision; absent: the newest. */
  readonly revision?: number;
}

export interface RangeResult {
  /** In byte order of their keys. */
  readonly values: readonly StoredValue[];
  readonly hasMore: boolean;
  /** The revision that the values are of. */
  readonly revision: number;
}

export interface StoreStats {
  readonly revision: number;
  readonly compactedRevision: number;
  /** Bytes on disk, and the size at which writes are refused (infinite: only the store itself knows it). */
  readonly sizeBytes: number;
  readonly maxSizeBytes: number;
  /** True while nothing can be written: the embedded store until it is started again, etcd until it answers. */
  readonly hasFailed: boolean;
}

/**
 * A transactional key-value store with etcd's model, so that etcd itself can stand in. A write's promise
 * resolves only when the write is on disk, and after every watch has been told of it.
 */
export interface Store {
  get(key: string): Promise<StoredValue | undefined>;
  /**
   * Puts a value if the key's modRevision is `expected` (0: only if the key is absent).
   * @throws STORE_FULL, STORE_FAILED
   */
  put(key: string, value: Buffer, expected: number): Promise<WriteResult>;
  /** Deletes a key if its modRevision is `expected`. @throws STORE_FAILED */
  delete(key: string, expected: number): Promise<WriteResult>;
  /** Values whose keys start with `prefix`. @throws STORE_COMPACTED, STORE_FUTURE_REVISION */
  range(prefix: string, options?: RangeOptions): Promise<RangeResult>;
  /**
   * Calls back for every change behind `afterRevision`, in order of revision, none left out; returns what
   * ends the watch. @throws STORE_COMPACTED when changes behind that revision are forgotten.
   */
  watch(prefix: string, afterRevision: number, onEvents: (events: readonly StoreEvent[]) => void): () => void;
  /**
   * Resolves once every watch has been told of all writes, whoever made them, that were acknowledged before this
   * call: whoever reads memory that a watch keeps then reads the newest state. @throws STORE_FAILED
   */
  confirm(): Promise<void>;
  /** Forgets changes up to this revision. */
  compact(revision: number): Promise<void>;
  stats(): StoreStats;
  /** Finishes pending writes and releases the files. */
  close(): Promise<void>;
}

/** Nothing below the prefix was changed behind this revision. */
export interface QuietRange {
  readonly prefix: string;
  readonly revision: number;
}

/** A store that several API servers write to at the same time. */
export interface SharedStore extends Store {
  /** As `put`; also refused, with `current` as it is, when the range is not quiet. */
  putIfQuiet(key: string, value: Buffer, expected: number, range: QuietRange): Promise<WriteResult>;
  /** Puts a value, whatever is there, that goes away by itself unless it is put again within the time. */
  putTemporary(key: string, value: Buffer, ttlSeconds: number): Promise<void>;
}

/** True when other API servers may write to the store too. */
export function isSharedStore(store: Store): store is SharedStore {
  return 'putIfQuiet' in store;
}
