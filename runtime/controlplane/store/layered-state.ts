import type { FoldedDatabase } from './folded-database.ts';
import type { StoredValue } from './types.ts';

type Changes = Map<string, StoredValue | undefined>;

/** The newest value of each key: what logs hold, over what is being folded, over the database. */
export class LayeredState {
  readonly #database: FoldedDatabase;
  /** On disk in a log but not yet in the database; undefined: deleted. */
  #overlay: Changes;
  /** The overlay that is being folded into the database. */
  #folding: Changes = new Map();

  constructor(database: FoldedDatabase, overlay: Changes) {
    this.#database = database;
    this.#overlay = overlay;
  }

  get(key: string): StoredValue | undefined {
    if (this.#overlay.has(key)) return this.#overlay.get(key);
    if (this.#folding.has(key)) return this.#folding.get(key);
    return this.#database.get(key);
  }

  set(key: string, stored: StoredValue | undefined): void {
    this.#overlay.set(key, stored);
  }

  /** The values whose keys begin with a prefix; of the database those from the key `after` on. */
  collect(prefix: string, after: string): Map<string, StoredValue> {
    const found = new Map<string, StoredValue>();
    for (const stored of this.#database.range(prefix, after)) found.set(stored.key, stored);
    for (const layer of [this.#folding, this.#overlay]) {
      for (const [key, stored] of layer) {
        if (!key.startsWith(prefix)) continue;
        if (stored) found.set(key, stored);
        else found.delete(key);
      }
    }
    return found;
  }

  /** Folds what is there now, which is all up to a revision, into the database, beside further writes. */
  async fold(revision: number): Promise<void> {
    this.#folding = this.#overlay;
    this.#overlay = new Map();
    try {
      await this.#database.fold(this.#folding, revision);
    } catch (error) {
      for (const [key, stored] of this.#overlay) this.#folding.set(key, stored);
      this.#overlay = this.#folding;
      throw error;
    } finally {
      this.#folding = new Map();
    }
  }
}
