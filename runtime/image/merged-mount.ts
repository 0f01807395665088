import { mkdir } from 'node:fs/promises';
import type { StorageDriver } from './container-files.ts';
import { copyTree } from './copy-tree.ts';
import type { Inodes } from './inodes.ts';
import { type MergedEntry, MergedTree } from './merged-tree.ts';

export interface MergedMountOptions {
  readonly driver: StorageDriver;
  /** A directory that is not there, for a copy; whoever asks removes it. */
  readonly copyDir: string;
  readonly inodes: Inodes;
}

/** The fields of an OCI mount that say what is mounted. */
export interface MergedMount {
  readonly type: 'bind' | 'overlay';
  readonly source: string;
  readonly options: readonly string[];
}

/**
 * How a file or directory of an image is mounted read-only: by itself, or, as a directory that several layers have, by an
 * overlay of them or a copy of what that would show.
 */
export async function buildMergedMount(
  { stats, hostPaths }: MergedEntry,
  { driver, copyDir, inodes }: MergedMountOptions,
): Promise<MergedMount> {
  const [only = ''] = hostPaths;
  const bind = (source: string): MergedMount => ({
    type: 'bind',
    source,
    options: [stats.isDirectory() ? 'rbind' : 'bind', 'rprivate', 'ro'],
  });
  if (hostPaths.length === 1) return bind(only);
  if (driver === 'overlay')
    return { type: 'overlay', source: 'overlay', options: ['ro', `lowerdir=${hostPaths.join(':')}`] };
  await mkdir(copyDir, { recursive: true, mode: 0o700 });
  await copyTree(new MergedTree(hostPaths, inodes), copyDir, inodes);
  return bind(copyDir);
}
