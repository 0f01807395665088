import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists, writeFileAtomic } from './files.ts';
import type { Logger } from './log.ts';

/**
 * Records as one JSON file in a directory of its own each. They are replaced atomically, and not synced unless
 * asked: what describes processes ends with a power failure as they do.
 */
export class RecordStore<T extends { readonly id: string }> {
  readonly #root: string;
  readonly #fileName: string;
  readonly #isSynced: boolean;
  readonly #records = new Map<string, T>();

  constructor(root: string, fileName: string, { isSynced = false } = {}) {
    this.#root = root;
    this.#fileName = fileName;
    this.#isSynced = isSynced;
  }

  /** Reads all; directories without a readable record are removed by `discard`, then deleted. */
  async load(log: Logger, discard: (directory: string) => Promise<void>): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o711 });
    for (const id of await readdir(this.#root)) {
      const text = await readFileIfExists(join(this.#root, id, this.#fileName));
      try {
        const record = JSON.parse(text ?? '') as T;
        if (record.id !== id) throw new Error('another id');
        this.#records.set(id, record);
      } catch {
        log.warn('removed a directory without a record', { path: join(this.#root, id) });
        await discard(join(this.#root, id));
        await rm(join(this.#root, id), { recursive: true, force: true });
      }
    }
  }

  directory(id: string): string {
    return join(this.#root, id);
  }

  get(id: string): T | undefined {
    return this.#records.get(id);
  }

  list(): readonly T[] {
    return [...this.#records.values()];
  }

  /** An exact id, or the only one that begins so. */
  find(text: string): T | undefined {
    const exact = this.#records.get(text);
    if (exact !== undefined || text === '') return exact;
    const matches = this.list().filter((record) => record.id.startsWith(text));
    return matches.length === 1 ? matches[0] : undefined;
  }

  async put(record: T): Promise<void> {
    const path = join(this.#root, record.id, this.#fileName);
    await writeFileAtomic(path, JSON.stringify(record), { mode: 0o600, sync: this.#isSynced });
    this.#records.set(record.id, record);
  }

  async remove(id: string): Promise<void> {
    await rm(join(this.#root, id, this.#fileName), { force: true });
    this.#records.delete(id);
    await rm(join(this.#root, id), { recursive: true, force: true });
  }
}
