import type { Stats } from 'node:fs';
import { lstat, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import type { Inodes } from './inodes.ts';
import { ifThere, isOpaque, isWhiteout } from './overlay-files.ts';

/** A file of an image: where it lies on the host. A directory may lie in several layers. */
export interface MergedEntry {
  /** Path inside the image with every link on the way followed. */
  readonly path: string;
  readonly stats: Stats;
  /** Host paths, topmost first; one for anything but a directory. */
  readonly hostPaths: readonly string[];
}

const MAX_LINKS = 40;

/** The files that an overlay of these layers shows, looked up without mounting it. */
export class MergedTree {
  readonly #lowerDirs: readonly string[];
  readonly #inodes: Inodes;

  constructor(lowerDirs: readonly string[], inodes: Inodes) {
    this.#lowerDirs = lowerDirs;
    this.#inodes = inodes;
  }

  /** The entry at a path; links on the way are followed inside the image, a final one is not unless asked. */
  async lookup(path: string, followsFinal = true): Promise<MergedEntry | undefined> {
    let rest = path.split('/').filter(Boolean);
    let current: MergedEntry | undefined = await this.#root();
    let links = 0;
    while (current && rest.length > 0) {
      const [name = '', ...behind] = rest;
      if (name === '.') rest = behind;
      else if (name === '..') {
        current = await this.lookup(dirname(current.path));
        rest = behind;
      } else {
        const child: MergedEntry | undefined = await this.child(current, name);
        if (child?.stats.isSymbolicLink() && (behind.length > 0 || followsFinal)) {
          links += 1;
          if (links > MAX_LINKS)
            throw new TkadmError('IMAGE_PATH_INVALID', `Cannot resolve "${path}": too many links`);
          const target = await readlink(child.hostPaths[0]!);
          if (target.startsWith('/')) current = await this.#root();
          rest = [...target.split('/').filter(Boolean), ...behind];
        } else {
          current = child;
          rest = behind;
        }
      }
    }
    return current;
  }

  /** The path with every link on the way followed, as far as it is there; the rest is taken as it is. */
  async resolve(path: string): Promise<string> {
    const parts = path.split('/').filter(Boolean);
    for (let count = parts.length; count > 0; count -= 1) {
      const entry = await this.lookup(parts.slice(0, count).join('/'));
      if (entry) return join(entry.path, ...parts.slice(count));
    }
    return join('/', ...parts);
  }

  /** Names in a directory, sorted. */
  async list(directory: MergedEntry): Promise<readonly string[]> {
    const names = new Set<string>();
    const hidden = new Set<string>();
    for (const hostPath of directory.hostPaths) {
      for (const entry of await readdir(hostPath, { withFileTypes: true })) {
        if (hidden.has(entry.name) || names.has(entry.name)) continue;
        const isHidden = entry.isCharacterDevice() && isWhiteout(await lstat(join(hostPath, entry.name)));
        (isHidden ? hidden : names).add(entry.name);
      }
    }
    return [...names].sort();
  }

  /** Text of a file, undefined when it is not there. */
  async readText(path: string): Promise<string | undefined> {
    const entry = await this.lookup(path);
    return entry?.stats.isFile() ? readFile(entry.hostPaths[0]!, 'utf8') : undefined;
  }

  /** What is there under a name in a directory; a link is not followed. */
  async child(parent: MergedEntry, name: string): Promise<MergedEntry | undefined> {
    const path = join(parent.path, name);
    const directories: string[] = [];
    let stats: Stats | undefined;
    for (const hostPath of parent.hostPaths) {
      const candidate = join(hostPath, name);
      const found = await ifThere(lstat(candidate));
      if (!found) continue;
      if (isWhiteout(found)) break;
      if (!found.isDirectory()) {
        if (directories.length === 0) return { path, stats: found, hostPaths: [candidate] };
        break;
      }
      stats ??= found;
      directories.push(candidate);
      if (isOpaque(candidate, this.#inodes)) break;
    }
    return stats && { path, stats, hostPaths: directories };
  }

  async #root(): Promise<MergedEntry | undefined> {
    const [top] = this.#lowerDirs;
    return top === undefined ? undefined : { path: '/', stats: await stat(top), hostPaths: this.#lowerDirs };
  }
}
