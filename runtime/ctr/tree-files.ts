import { readlink } from 'node:fs/promises';
import type { MergedEntry, MergedTree } from '../image/merged-tree.ts';
import type { LayerFile } from '../image/pack.ts';

/**
 * A file, or a directory with all that is in it, as it goes into a tar. Sockets are left out.
 * @param name the entry's name in the tar; "" leaves the directory itself out
 */
export async function* readTree(
  tree: MergedTree,
  entry: MergedEntry,
  name: string,
  options: { readonly keepsOwner: boolean },
): AsyncGenerator<LayerFile> {
  const content = await readContent(entry);
  if (content === undefined) return;
  const { mode, mtime, uid, gid } = entry.stats;
  const owner = options.keepsOwner ? { uid, gid } : { uid: 0, gid: 0 };
  if (name !== '') yield { name, stats: { mode, mtime, ...owner }, content };
  if (content.kind !== 'directory') return;
  for (const base of await tree.list(entry)) {
    const child = await tree.lookup(`${entry.path}/${base}`, false);
    if (child !== undefined) yield* readTree(tree, child, name === '' ? base : `${name}/${base}`, options);
  }
}

async function readContent({ stats, hostPaths }: MergedEntry): Promise<LayerFile['content'] | undefined> {
  const [hostPath = ''] = hostPaths;
  if (stats.isDirectory()) return { kind: 'directory' };
  if (stats.isSymbolicLink()) return { kind: 'symlink', target: await readlink(hostPath) };
  if (stats.isFile()) return { kind: 'file', hostPath, sizeBytes: stats.size };
  if (stats.isFIFO()) return { kind: 'fifo', major: 0, minor: 0 };
  if (!stats.isCharacterDevice() && !stats.isBlockDevice()) return undefined;
  const kind = stats.isBlockDevice() ? 'block-device' : 'character-device';
  // makedev(3) of glibc, low words
  const major = (stats.rdev >>> 8) & 0xfff;
  const minor = (stats.rdev & 0xff) | ((stats.rdev >>> 12) & 0xfff00);
  return { kind, major, minor };
}
