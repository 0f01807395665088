import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileState } from './change.ts';
import { ABSENT } from './file-state.ts';
import type { Facts } from './snapshot.ts';

/** Of bigger files size and time of change stand for the content. */
const MAX_DIGESTED_BYTES = 1024 * 1024;
/** A directory of more entries is somebody else's store: the rest is not looked at. */
const MAX_ENTRIES = 5_000;

/**
 * What is at, and below, directories and at single files: states by path. Links are not followed and other file
 * systems not entered; a path at which nothing is has no line.
 */
export async function listFiles(directories: readonly string[], files: readonly string[]): Promise<Facts> {
  const facts: Record<string, string> = {};
  for (const path of [...directories, ...files]) await addTree(path, facts, { budget: MAX_ENTRIES });
  return Object.fromEntries(Object.entries(facts).sort(([a], [b]) => (a < b ? -1 : 1)));
}

interface Walk {
  budget: number;
  readonly device?: number;
}

async function addTree(path: string, facts: Record<string, string>, walk: Walk): Promise<void> {
  const stats = await lstat(path).catch(() => undefined);
  if (!stats || walk.budget <= 0) return;
  walk.budget -= 1;
  if (walk.device !== undefined && stats.dev !== walk.device) {
    facts[path] = 'mount point';
    return;
  }
  if (stats.isFile() && stats.size > MAX_DIGESTED_BYTES) {
    facts[path] =
      `file ${(stats.mode & 0o7777).toString(8)} ${stats.uid}:${stats.gid} ${stats.size} bytes of ${stats.mtime.toISOString()}`;
    return;
  }
  const { state } = await readFileState(path);
  if (state !== ABSENT) facts[path] = state;
  if (!stats.isDirectory()) return;
  const below = { budget: walk.budget, device: stats.dev };
  for (const name of (await readdir(path).catch(() => [])).sort())
    await addTree(join(path, name), facts, below);
  walk.budget = below.budget;
}
