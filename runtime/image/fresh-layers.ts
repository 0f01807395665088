import { readdirSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists } from '../base/files.ts';
import type { Inodes } from './inodes.ts';

const MARK = 'fresh';

/**
 * Marks layers whose files need not be on disk yet: a file with the boot's id beside the layer, made before the layer
 * can be seen. A journal keeps that order, so what a loss of power has damaged has the mark of an earlier boot.
 */
export class FreshLayers {
  readonly #directory: string;
  readonly #inodes: Inodes;
  readonly #bootId: string;

  constructor(directory: string, inodes: Inodes, bootId: string) {
    this.#directory = directory;
    this.#inodes = inodes;
    this.#bootId = bootId;
  }

  /** Marks a layer in the directory where it is made. */
  async mark(directory: string): Promise<void> {
    await writeFile(join(directory, MARK), this.#bootId);
  }

  /** Names of marked layers: of this boot, whole and not synced, and of earlier ones, which may be damaged. */
  async find(): Promise<{ readonly whole: readonly string[]; readonly doubtful: readonly string[] }> {
    const [whole, doubtful]: [string[], string[]] = [[], []];
    for (const name of readdirSync(this.#directory)) {
      const text = await readFileIfExists(join(this.#directory, name, MARK));
      if (text !== undefined) (text === this.#bootId ? whole : doubtful).push(name);
    }
    return { whole, doubtful };
  }

  /** Waits until everything is on disk, and takes the marks of these layers away. */
  async settle(names: readonly string[]): Promise<void> {
    const marks = names.map((name) => join(this.#directory, name, MARK));
    const found = await Promise.all(marks.map((path) => readFileIfExists(path)));
    if (found.every((text) => text === undefined)) return;
    await this.#inodes.sync(this.#directory);
    for (const path of marks) await rm(path, { force: true });
  }
}

/** Changes with every start of the machine (random(4)). */
export async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}
