import type { Stats } from 'node:fs';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { fileAttributes } from './copy-tree.ts';
import type { Inodes } from './inodes.ts';
import type { MergedEntry, MergedTree } from './merged-tree.ts';
import type { FileChange } from './overlay-changes.ts';

export interface CopyChangesOptions {
  readonly lower: MergedTree;
  /** The copy. */
  readonly root: string;
  /** A file that was made when the copy was whole. */
  readonly mark: string;
  readonly inodes: Inodes;
}

/** A copy's times come through a floating-point number of seconds. */
const SAME_TIME_MS = 1;
const COMPARED_BYTES = 1 << 18;

/**
 * What a copy of the layers differs in from them. A file whose inode was not touched since the copy is compared by its
 * metadata, others by their content as well.
 */
export async function listCopyChanges(options: CopyChangesOptions): Promise<readonly FileChange[]> {
  const { ctimeMs } = await lstat(options.mark);
  const root = await options.lower.lookup('/');
  return new CopyComparison(options, ctimeMs).compare('', root);
}

class CopyComparison {
  readonly #options: CopyChangesOptions;
  readonly #copiedMs: number;

  constructor(options: CopyChangesOptions, copiedMs: number) {
    this.#options = options;
    this.#copiedMs = copiedMs;
  }

  /** The changes below a directory; `before` is what the layers have there. */
  async compare(directory: string, before: MergedEntry | undefined): Promise<readonly FileChange[]> {
    const { lower, root } = this.#options;
    const old = before?.stats.isDirectory() ? before : undefined;
    const names = await readdir(join(root, directory));
    const gone = new Set(old === undefined ? [] : await lower.list(old));
    for (const name of names) gone.delete(name);
    const changes: FileChange[] = [];
    for (const name of [...names, ...gone].sort()) {
      const path = `${directory}/${name}`;
      if (gone.has(name)) changes.push({ kind: 'D', path });
      else changes.push(...(await this.#compareEntry(path, old && (await lower.child(old, name)))));
    }
    return changes;
  }

  async #compareEntry(path: string, before: MergedEntry | undefined): Promise<readonly FileChange[]> {
    const stats = await lstat(join(this.#options.root, path));
    const below = stats.isDirectory() ? await this.compare(path, before) : [];
    if (before === undefined) return [{ kind: 'A', path }, ...below];
    const isSame = below.length === 0 && (await this.#isSame(path, stats, before));
    return isSame ? [] : [{ kind: 'C', path }, ...below];
  }

  async #isSame(path: string, now: Stats, { stats: then, hostPaths }: MergedEntry): Promise<boolean> {
    const isEqual = now.mode === then.mode && now.uid === then.uid && now.gid === then.gid;
    if (!isEqual || now.rdev !== then.rdev) return false;
    const [own, source] = [join(this.#options.root, path), hostPaths[0]!];
    if (now.isSymbolicLink()) return (await readlink(own)) === (await readlink(source));
    const isNewer = now.ctimeMs >= this.#copiedMs;
    if (now.isDirectory()) return !isNewer || this.#hasSameAttributes(own, source);
    if (!now.isFile()) return true;
    if (now.size !== then.size || Math.abs(now.mtimeMs - then.mtimeMs) > SAME_TIME_MS) return false;
    return !isNewer || (this.#hasSameAttributes(own, source) && (await hasSameContent(own, source)));
  }

  #hasSameAttributes(own: string, source: string): boolean {
    const [now, then] = [own, source].map((path) => fileAttributes(path, this.#options.inodes));
    return now!.size === then!.size && [...now!].every(([name, value]) => then!.get(name)?.equals(value));
  }
}

async function hasSameContent(first: string, second: string): Promise<boolean> {
  const files = await Promise.all([open(first), open(second)]);
  try {
    for (;;) {
      const [a, b] = await Promise.all(files.map((file) => file.read(Buffer.alloc(COMPARED_BYTES))));
      const isSame = a!.bytesRead === b!.bytesRead && a!.buffer.equals(b!.buffer);
      if (!isSame || a!.bytesRead === 0) return isSame;
    }
  } finally {
    for (const file of files) await file.close();
  }
}
