import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists, writeFileAtomic } from '../../base/files.ts';
import type { ImageStore } from '../store.ts';

/** The layer that a step made, and when. */
export interface CachedStep {
  readonly diffId: string;
  /** RFC 3339 */
  readonly createdAt: string;
}

export interface BuildCacheOptions {
  /** A file for each step, named by the digest of all that it depends on. */
  readonly directory: string;
  /** Directory of `RUN --mount=type=cache`. */
  readonly mountDirectory: string;
  readonly store: ImageStore;
  readonly now: () => Date;
  readonly limits?: BuildCacheLimits;
}

/** What is kept of steps whose layers no image has any more. */
export interface BuildCacheLimits {
  /** Of the layers' files. */
  readonly maxBytes: number;
  /** Since a build has used a step. */
  readonly maxIdleMs: number;
}

const DEFAULT_LIMITS: BuildCacheLimits = { maxBytes: 10e9, maxIdleMs: 7 * 24 * 3600e3 };

/** The store keeps the layers of cached steps under this name. */
const BUILD_CACHE_OWNER = 'build-cache';

interface Entry extends CachedStep {
  usedAt: number;
}

/** What steps of earlier builds made; their layers stay in the store as long as they are here. */
export class BuildCache {
  readonly #options: BuildCacheOptions;
  readonly #limits: BuildCacheLimits;
  readonly #entries = new Map<string, Entry>();

  constructor(options: BuildCacheOptions) {
    this.#options = options;
    this.#limits = options.limits ?? DEFAULT_LIMITS;
  }

  /** Finds what earlier builds left; to be called before the store is swept. */
  async load(): Promise<void> {
    const { directory, store } = this.#options;
    await mkdir(directory, { recursive: true });
    for (const key of await readdir(directory)) {
      const step = parseStep(await readFileIfExists(join(directory, key)));
      if (step === undefined || !(await store.layer(step.diffId))) {
        await rm(join(directory, key), { force: true });
        continue;
      }
      this.#entries.set(key, { ...step, usedAt: (await stat(join(directory, key))).mtimeMs });
    }
    this.#retain();
    await this.#trim();
  }

  /** The step of a key; it counts as used now. */
  async get(key: string): Promise<CachedStep | undefined> {
    const { directory, store, now } = this.#options;
    const entry = this.#entries.get(key);
    if (entry === undefined || !(await store.layer(entry.diffId))) return undefined;
    const time = now();
    entry.usedAt = time.getTime();
    await utimes(join(directory, key), time, time);
    return entry;
  }

  async put(key: string, { diffId, createdAt }: CachedStep): Promise<void> {
    const { directory, now } = this.#options;
    this.#entries.set(key, { diffId, createdAt, usedAt: now().getTime() });
    this.#retain();
    await writeFileAtomic(join(directory, key), JSON.stringify({ diffId, createdAt }), { sync: false });
    await this.#trim();
  }

  /** Forgets every step and empties the caches of mounts; the store has to be swept after it. */
  async clear(): Promise<number> {
    const count = this.#entries.size;
    await this.#forget([...this.#entries.keys()]);
    await rm(this.#options.mountDirectory, { recursive: true, force: true });
    return count;
  }

  /** Forgets what was not used for long, and the longest unused of what is too much. */
  async #trim(): Promise<void> {
    const { store, now } = this.#options;
    const oldest = now().getTime() - this.#limits.maxIdleMs;
    const used = new Set(store.list().flatMap(({ layers }) => layers.map(({ diffId }) => diffId)));
    const forgotten: string[] = [];
    let bytes = 0;
    for (const [key, entry] of [...this.#entries].sort(([, a], [, b]) => b.usedAt - a.usedAt)) {
      // What an image has costs nothing more.
      bytes += used.has(entry.diffId) ? 0 : ((await store.layer(entry.diffId))?.sizeBytes ?? 0);
      if (entry.usedAt < oldest || bytes > this.#limits.maxBytes) forgotten.push(key);
    }
    if (forgotten.length > 0) await this.#forget(forgotten);
  }

  async #forget(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      this.#entries.delete(key);
      await rm(join(this.#options.directory, key), { force: true });
    }
    this.#retain();
  }

  #retain(): void {
    const { store } = this.#options;
    const diffIds = [...new Set([...this.#entries.values()].map(({ diffId }) => diffId))];
    store.retain(
      BUILD_CACHE_OWNER,
      diffIds.flatMap((diffId) => store.lowerDirsOf([diffId])),
    );
  }
}

function parseStep(text: string | undefined): CachedStep | undefined {
  try {
    const { diffId, createdAt } = JSON.parse(text ?? '') as Partial<CachedStep>;
    return typeof diffId === 'string' && typeof createdAt === 'string' ? { diffId, createdAt } : undefined;
  } catch {
    return undefined;
  }
}
