import { constants, type Stats } from 'node:fs';
import { chmod, copyFile, lchown, link, lutimes, mkdir, readlink, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Inodes } from './inodes.ts';
import type { MergedEntry, MergedTree } from './merged-tree.ts';

/** Files of one directory that are copied at the same time. */
const PARALLEL_FILES = 8;
const { COPYFILE_EXCL, COPYFILE_FICLONE } = constants;

/**
 * Copies what an overlay of the layers would show into the empty directory `target`: owners, modes, times, extended
 * attributes, devices, hard links. Contents are shared where the file system can (reflinks).
 */
export async function copyTree(tree: MergedTree, target: string, inodes: Inodes): Promise<void> {
  const root = await tree.lookup('/');
  if (root === undefined) return;
  await new TreeCopy(tree, target, inodes).copyDirectory(root);
}

class TreeCopy {
  readonly #tree: MergedTree;
  readonly #target: string;
  readonly #inodes: Inodes;
  /** The first copy of a file with several names. */
  readonly #linked = new Map<string, Promise<string>>();

  constructor(tree: MergedTree, target: string, inodes: Inodes) {
    this.#tree = tree;
    this.#target = target;
    this.#inodes = inodes;
  }

  /** Fills a directory that is there. */
  async copyDirectory(directory: MergedEntry): Promise<void> {
    const names = await this.#tree.list(directory);
    for (let start = 0; start < names.length; start += PARALLEL_FILES) {
      const part = names.slice(start, start + PARALLEL_FILES);
      await Promise.all(part.map((name) => this.#copyChild(directory, name)));
    }
    await this.#finish(directory, join(this.#target, directory.path));
  }

  async #copyChild(directory: MergedEntry, name: string): Promise<void> {
    const entry = await this.#tree.child(directory, name);
    if (entry === undefined) return;
    const path = join(this.#target, entry.path);
    if (entry.stats.isDirectory()) {
      await mkdir(path);
      return this.copyDirectory(entry);
    }
    if (entry.stats.nlink > 1) return this.#copyLinked(entry, path);
    await this.#copyFile(entry, path);
  }

  async #copyLinked(entry: MergedEntry, path: string): Promise<void> {
    const key = `${entry.stats.dev}:${entry.stats.ino}`;
    const first = this.#linked.get(key);
    if (first !== undefined) return link(await first, path);
    const copy = this.#copyFile(entry, path).then(() => path);
    this.#linked.set(key, copy);
    await copy;
  }

  async #copyFile(entry: MergedEntry, path: string): Promise<void> {
    const { stats } = entry;
    const source = entry.hostPaths[0]!;
    if (stats.isFile()) await copyFile(source, path, COPYFILE_EXCL | COPYFILE_FICLONE);
    else if (stats.isSymbolicLink()) await symlink(await readlink(source), path);
    else if (!stats.isSocket()) {
      const { major, minor } = deviceNumbers(stats);
      this.#inodes.mknod(path, stats.mode, major, minor);
    } else return;
    await this.#finish(entry, path);
  }

  /** The owner first: changing it takes set-user-id bits and file capabilities away. */
  async #finish({ stats, hostPaths }: MergedEntry, path: string): Promise<void> {
    await lchown(path, stats.uid, stats.gid);
    if (!stats.isSymbolicLink()) {
      await chmod(path, stats.mode & 0o7777);
      for (const [name, value] of fileAttributes(hostPaths[0]!, this.#inodes))
        this.#inodes.setxattr(path, name, value);
    }
    await lutimes(path, stats.atimeMs / 1000, stats.mtimeMs / 1000);
  }
}

/** A file's extended attributes without those that overlayfs keeps for itself. */
export function fileAttributes(path: string, inodes: Inodes): ReadonlyMap<string, Buffer> {
  return new Map([...inodes.attributes(path)].filter(([name]) => !name.includes('.overlay.')));
}

/** Of a device file, as makedev(3) puts them together; 0 of others. */
export function deviceNumbers({ rdev }: Stats): { readonly major: number; readonly minor: number } {
  return { major: (rdev >> 8) & 0xfff, minor: (rdev & 0xff) | ((rdev >> 12) & 0xfff00) };
}
