import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ifThere } from '../image/overlay-files.ts';
import { type CtrContext, containerPaths } from './ctr-context.ts';
import type { DiskUsage } from './ctr-messages.ts';

/** What images, writable layers and volumes take of the disk. */
export async function readDiskUsage(context: CtrContext): Promise<DiskUsage> {
  const records = context.records.list();
  const used = new Set(records.flatMap(({ mounts }) => mounts.flatMap(({ name }) => name ?? [])));
  const [images, containers, volumes] = await Promise.all([
    context.images.fsUsage(),
    Promise.all(
      records.map(async ({ id, name }) => ({
        id,
        name,
        bytes: await measureTree(containerPaths(context, id).upper),
      })),
    ),
    Promise.all(
      context.volumes.list().map(async ({ id }) => ({
        name: id,
        bytes: await measureTree(context.volumes.path(id)),
        isUsed: used.has(id),
      })),
    ),
  ]);
  return { imagesBytes: images.usedBytes, containers, volumes };
}

/** Sum of the sizes of all files below a directory; what goes meanwhile is not counted. */
async function measureTree(path: string): Promise<number> {
  const stats = await ifThere(lstat(path));
  if (stats === undefined) return 0;
  if (!stats.isDirectory()) return stats.isFile() ? stats.size : 0;
  const names = await readdir(path).catch(() => []);
  let bytes = 0;
  for (const name of names) bytes += await measureTree(join(path, name));
  return bytes;
}
