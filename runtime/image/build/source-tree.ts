import { join, posix } from 'node:path';
import { readFileIfExists } from '../../base/files.ts';
import type { Inodes } from '../inodes.ts';
import { type MergedEntry, MergedTree } from '../merged-tree.ts';
import { parseGlob } from './glob.ts';
import { parseIgnoreRules } from './ignore.ts';

/** What COPY and ADD take files from: the build context, a stage or an image. */
export class SourceTree {
  readonly #tree: MergedTree;
  readonly #isVisible: (entry: MergedEntry) => Promise<boolean>;

  constructor(tree: MergedTree, isVisible: (entry: MergedEntry) => Promise<boolean> = async () => true) {
    this.#tree = tree;
    this.#isVisible = isVisible;
  }

  /** The entry at a path, links inside the tree followed; a final one only with `followsFinal`. */
  async lookup(path: string, followsFinal: boolean): Promise<MergedEntry | undefined> {
    const entry = await this.#tree.lookup(path, followsFinal);
    return entry && (await this.#isVisible(entry)) ? entry : undefined;
  }

  /** The entries of a directory by name, links as they are. */
  async list(directory: MergedEntry): Promise<readonly (readonly [name: string, entry: MergedEntry])[]> {
    const result: (readonly [string, MergedEntry])[] = [];
    for (const name of await this.#tree.list(directory)) {
      const entry = await this.lookup(posix.join(directory.path, name), false);
      if (entry) result.push([name, entry]);
    }
    return result;
  }

  /** Absolute paths that a pattern (Go's filepath.Match) names, sorted; none when nothing matches. */
  async glob(pattern: string): Promise<readonly string[]> {
    const clean = posix.normalize(`/${pattern}`).replace(/(?<=.)\/$/, '');
    if (!/[*?[\\]/.test(clean)) return (await this.lookup(clean, true)) ? [clean] : [];
    let found = ['/'];
    for (const part of clean.split('/').filter(Boolean)) {
      const glob = parseGlob(part);
      const next: string[] = [];
      for (const path of found) {
        const entry = await this.lookup(path, true);
        if (!entry?.stats.isDirectory()) continue;
        const names = (await this.list(entry)).map(([name]) => name);
        next.push(...names.filter((name) => glob.test(name)).map((name) => posix.join(path, name)));
      }
      found = next;
    }
    return found;
  }
}

/** The build context on disk, without what `.dockerignore` excludes. Links never lead out of it. */
export async function openContext(
  root: string,
  inodes: Inodes,
  ignoreFile?: string | undefined,
): Promise<SourceTree> {
  const tree = new MergedTree([root], inodes);
  const text = ignoreFile ?? (await readFileIfExists(join(root, '.dockerignore'))) ?? '';
  const rules = parseIgnoreRules(text);
  const isVisible = async (entry: MergedEntry): Promise<boolean> => {
    if (!rules.isIgnored(entry.path.slice(1))) return true;
    if (!rules.hasExceptions || !entry.stats.isDirectory()) return false;
    for (const name of await tree.list(entry)) {
      const child = await tree.lookup(posix.join(entry.path, name), false);
      if (child && (await isVisible(child))) return true;
    }
    return false;
  };
  return new SourceTree(tree, isVisible);
}
