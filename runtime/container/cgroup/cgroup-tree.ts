import { readdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { TkadmError } from '../../base/errors.ts';
import { sleep } from '../../base/time.ts';
import { readText } from './cgroup-usage.ts';

/** Signals processes, of which some may have ended. */
export function killPids(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {}
  }
}

/** Kills what is in the directories and removes them with those below. @throws CGROUP_BUSY after one second */
export async function removeDirectories(directories: readonly string[]): Promise<void> {
  let left = directories;
  for (let tries = 0; tries < 100; tries += 1) {
    left = left.filter((directory) => !removeTree(directory));
    if (left.length === 0) return;
    await sleep(Math.min(2 + tries, 20));
  }
  throw new TkadmError('CGROUP_BUSY', `Cannot remove cgroup "${left[0]}": processes are left in it`);
}

/** False when something is left, which was killed. */
function removeTree(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return true;
    if (code !== 'EBUSY' && code !== 'ENOTEMPTY') throw error;
  }
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(directory, entry.name));
  }
  killPids(readPids(directory), 'SIGKILL');
  return false;
}

/** Every process of a cgroup and those below it. */
export function readPids(directory: string | undefined): readonly number[] {
  const own = (readText(directory, 'cgroup.procs') ?? '').split('\n').filter(Boolean).map(Number);
  if (directory === undefined) return own;
  let children: readonly string[] = [];
  try {
    children = readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(directory, entry.name));
  } catch {}
  return [...own, ...children.flatMap(readPids)].filter((pid) => pid > 0);
}
