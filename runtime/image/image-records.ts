import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists, writeFileAtomic } from '../base/files.ts';
import type { Logger } from '../base/log.ts';
import type { ImageRecord } from './store.ts';

/** The images of a store by id, each in a file `records/<hex of id>.json`. */
export class ImageRecords {
  readonly #directory: string;
  readonly #log: Logger;
  readonly #images = new Map<string, ImageRecord>();

  constructor(root: string, log: Logger) {
    this.#directory = join(root, 'records');
    this.#log = log;
  }

  get byId(): ReadonlyMap<string, ImageRecord> {
    return this.#images;
  }

  list(): readonly ImageRecord[] {
    return [...this.#images.values()];
  }

  /** Reads the files; a record that cannot be read, or has lost a layer, is removed. */
  async load(findLost: (record: ImageRecord) => Promise<string | undefined>): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    for (const name of await readdir(this.#directory)) {
      const path = join(this.#directory, name);
      const record = name.endsWith('.json') ? parseRecord(await readFileIfExists(path)) : undefined;
      const lost = record && (await findLost(record));
      if (record !== undefined && lost === undefined) {
        this.#images.set(record.id, record);
        continue;
      }
      // Other names are what was being written when an earlier process ended.
      if (name.endsWith('.json'))
        this.#log.warn('dropped an image', { name, tags: record?.repoTags.join(' '), missingLayer: lost });
      await rm(path, { force: true });
    }
  }

  /** The image is there when its file is. */
  async write(record: ImageRecord): Promise<void> {
    const known = this.#images.get(record.id);
    const text = JSON.stringify(record);
    if (known !== undefined && JSON.stringify(known) === text) return;
    await writeFileAtomic(this.#path(record.id), text);
    this.#images.set(record.id, record);
  }

  async forget({ id }: ImageRecord): Promise<void> {
    await rm(this.#path(id), { force: true });
    this.#images.delete(id);
  }

  #path(id: string): string {
    return join(this.#directory, `${id.slice('sha256:'.length)}.json`);
  }
}

function parseRecord(text: string | undefined): ImageRecord | undefined {
  try {
    return JSON.parse(text ?? '') as ImageRecord;
  } catch {
    return undefined;
  }
}
