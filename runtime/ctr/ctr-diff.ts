import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MergedTree } from '../image/merged-tree.ts';
import { isWhiteout } from '../image/overlay-files.ts';
import { type CtrContext, containerPaths } from './ctr-context.ts';
import type { DiffEntry } from './ctr-messages.ts';
import type { CtrRecord } from './ctr-record.ts';

/** What a container has added, changed and deleted: its writable layer beside the layers below. */
export async function diffContainer(context: CtrContext, record: CtrRecord): Promise<readonly DiffEntry[]> {
  const { upper } = containerPaths(context, record.id);
  const lower = new MergedTree(record.lowerDirs, context.inodes);
  const entries: DiffEntry[] = [];
  const walk = async (directory: string): Promise<void> => {
    for (const base of (await readdir(join(upper, directory))).sort()) {
      const path = `${directory}/${base}`;
      const stats = await lstat(join(upper, path));
      if (isWhiteout(stats)) {
        entries.push({ kind: 'D', path });
        continue;
      }
      entries.push({ kind: (await lower.lookup(path, false)) ? 'C' : 'A', path });
      if (stats.isDirectory()) await walk(path);
    }
  };
  await walk('');
  return entries;
}
