import { chmod, chown, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { MergedTree } from '../image/merged-tree.ts';
import type { CtrMount } from './ctr-record.ts';

/** Places of every container that something is mounted on; a file unless it is a directory. */
const MOUNT_POINTS = [
  { path: '/dev', isDirectory: true },
  { path: '/proc', isDirectory: true },
  { path: '/sys', isDirectory: true },
  { path: '/etc/hosts', isDirectory: false },
  { path: '/etc/hostname', isDirectory: false },
  { path: '/etc/resolv.conf', isDirectory: false },
] as const;

export interface MountPoint {
  readonly path: string;
  readonly isDirectory: boolean;
}

/**
 * Fills the layer between an image and a container's own files: empty places for what is mounted, where the image has
 * none. So these never come into the writable layer, into what `diff` shows or into a committed image.
 */
export async function makeInitLayer(
  directory: string,
  image: MergedTree,
  mounts: readonly MountPoint[],
): Promise<void> {
  await makeDirectory(directory, '/', image);
  for (const { path, isDirectory } of [...MOUNT_POINTS, ...mounts]) {
    const present = await image.lookup(path, isDirectory);
    if (present?.stats.isDirectory() && isDirectory) continue;
    // A link, as of a resolv.conf, would lead what is mounted elsewhere.
    if (present?.stats.isFile() && !isDirectory) continue;
    const resolved = await image.resolve(dirname(path));
    const place = join(resolved, path.slice(dirname(path).length));
    if (isDirectory) await makeDirectory(directory, place, image);
    else {
      await makeDirectory(directory, resolved, image);
      await writeFile(join(directory, place), '', { mode: 0o644, flag: 'a' });
    }
  }
}

/** A directory of the layer and those above it, with the owner and mode that they have in the image. */
async function makeDirectory(root: string, path: string, image: MergedTree): Promise<void> {
  const parent = dirname(path);
  if (parent !== path) await makeDirectory(root, parent, image);
  const stats = (await image.lookup(path, false))?.stats;
  const target = join(root, path);
  await mkdir(target, { recursive: true, mode: 0o755 });
  if (!stats?.isDirectory()) return;
  await chown(target, stats.uid, stats.gid);
  await chmod(target, stats.mode & 0o7777);
}

/** The mount points of a container's own mounts. */
export function mountPointsOf(
  mounts: readonly CtrMount[],
  isDirectorySource: (source: string) => boolean,
): readonly MountPoint[] {
  return mounts.map(({ type, source, target }) => ({
    path: target,
    isDirectory: type !== 'bind' || isDirectorySource(source),
  }));
}
