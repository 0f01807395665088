import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RootfsSource } from '../container/engine.ts';
import { listCopyChanges } from './copy-changes.ts';
import { copyTree } from './copy-tree.ts';
import type { Inodes } from './inodes.ts';
import { MergedTree } from './merged-tree.ts';
import { type FileChange, listUpperChanges } from './overlay-changes.ts';
import { type LayerFile, readChanges, readUpperDir } from './pack.ts';

/**
 * How the files of a container come from its layers: by overlayfs, or by a copy of everything where there is none. What
 * a container was made with it keeps; only new ones are made with the driver in use.
 */
export const STORAGE_DRIVERS = ['overlay', 'copy'] as const;
export type StorageDriver = (typeof STORAGE_DRIVERS)[number];

/** A container's own files and the layers below. */
export interface ContainerFiles {
  /** Topmost first. */
  readonly lowerDirs: readonly string[];
  /** What was written; with the driver "copy" all files. */
  readonly upperDir: string;
  /** overlayfs' own, or the mark of a copy. */
  readonly workDir: string;
}

/** Is there when the copy is whole. Its time of change is that of the copy's end. */
const COPY_MARK = 'copied';

/** Makes both directories, and the copy with that driver. */
export async function makeContainerFiles(
  files: ContainerFiles,
  driver: StorageDriver,
  inodes: Inodes,
): Promise<void> {
  await mkdir(files.upperDir, { recursive: true, mode: 0o755 });
  await mkdir(files.workDir, { recursive: true, mode: 0o700 });
  if (driver === 'overlay') return;
  await copyTree(new MergedTree(files.lowerDirs, inodes), files.upperDir, inodes);
  await writeFile(copyMark(files), '');
}

export function rootfsOf(files: ContainerFiles, isIdMapped = false): RootfsSource {
  return isCopy(files)
    ? { kind: 'path', path: files.upperDir, isIdMapped }
    : { kind: 'overlay', ...files, isIdMapped };
}

/** The directories that hold the container's files, topmost first. */
export function directoriesOf(files: ContainerFiles): readonly string[] {
  return isCopy(files) ? [files.upperDir] : [files.upperDir, ...files.lowerDirs];
}

/** Parents before their files. */
export function listChanges(files: ContainerFiles, inodes: Inodes): Promise<readonly FileChange[]> {
  const lower = new MergedTree(files.lowerDirs, inodes);
  return isCopy(files)
    ? listCopyChanges({ lower, root: files.upperDir, mark: copyMark(files), inodes })
    : listUpperChanges(lower, files.upperDir);
}

/** The changes in the form of a layer (OCI image-spec layer.md). */
export async function* readContainerChanges(
  files: ContainerFiles,
  inodes: Inodes,
): AsyncGenerator<LayerFile> {
  if (!isCopy(files)) yield* readUpperDir(files.upperDir, inodes);
  else yield* readChanges(files.upperDir, await listChanges(files, inodes), inodes);
}

function isCopy(files: ContainerFiles): boolean {
  return existsSync(copyMark(files));
}

function copyMark({ workDir }: ContainerFiles): string {
  return join(workDir, COPY_MARK);
}
