import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { MergedTree } from './merged-tree.ts';
import { isWhiteout } from './overlay-files.ts';

/** A path that a container has added, changed or deleted. */
export interface FileChange {
  readonly kind: 'A' | 'C' | 'D';
  /** With a leading "/". */
  readonly path: string;
}

/** What an overlay's upper directory adds to the layers, changes and deletes. */
export async function listUpperChanges(lower: MergedTree, upper: string): Promise<readonly FileChange[]> {
  const changes: FileChange[] = [];
  const walk = async (directory: string): Promise<void> => {
    for (const base of (await readdir(join(upper, directory))).sort()) {
      const path = `${directory}/${base}`;
      const stats = await lstat(join(upper, path));
      if (isWhiteout(stats)) {
        changes.push({ kind: 'D', path });
        continue;
      }
      changes.push({ kind: (await lower.lookup(path, false)) ? 'C' : 'A', path });
      if (stats.isDirectory()) await walk(path);
    }
  };
  await walk('');
  return changes;
}
