import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { RecordStore } from '../base/record-store.ts';
import { NAME_PATTERN } from './ctr-record.ts';

/** A volume; `volume.json` in its directory, its files below `_data`. */
export interface VolumeRecord {
  /** The name. */
  readonly id: string;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Made for one container; goes with it on request. */
  readonly isAnonymous: boolean;
}

export interface VolumeStoreOptions {
  readonly root: string;
  readonly newId: () => string;
  readonly now: () => Date;
  readonly log: Logger;
}

/** Volumes: directories with a name that outlive containers. */
export class VolumeStore {
  readonly #records: RecordStore<VolumeRecord>;
  readonly #options: VolumeStoreOptions;

  constructor(options: VolumeStoreOptions) {
    this.#options = options;
    this.#records = new RecordStore(options.root, 'volume.json', { isSynced: true });
  }

  load(): Promise<void> {
    return this.#records.load(this.#options.log, async () => {});
  }

  /** The volume of a name, made when it is not there; without a name a new one. @throws CTR_REQUEST_INVALID */
  async ensure(
    name: string | undefined,
    labels: Readonly<Record<string, string>> = {},
  ): Promise<{ readonly volume: VolumeRecord; readonly isNew: boolean }> {
    const present = name === undefined ? undefined : this.#records.get(name);
    if (present !== undefined) return { volume: present, isNew: false };
    if (name !== undefined && !NAME_PATTERN.test(name)) {
      throw new TkadmError(
        'CTR_REQUEST_INVALID',
        `Cannot make volume "${name}": a name has letters, digits, "_", "." and "-", two at least`,
        { hint: 'A directory of the host is named by its absolute path' },
      );
    }
    const id = name ?? this.#options.newId();
    const createdAt = this.#options.now().toISOString();
    const volume = { id, createdAt, labels, isAnonymous: name === undefined };
    await mkdir(this.path(id), { recursive: true, mode: 0o755 });
    await this.#records.put(volume);
    return { volume, isNew: true };
  }

  get(name: string): VolumeRecord | undefined {
    return this.#records.get(name);
  }

  list(): readonly VolumeRecord[] {
    return this.#records.list();
  }

  /** The directory of a volume's files. */
  path(name: string): string {
    return join(this.#records.directory(name), '_data');
  }

  async remove(name: string): Promise<void> {
    await this.#records.remove(name);
  }
}
