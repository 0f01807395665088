import { readdir, rmdir } from 'node:fs/promises';
import { basename, join } from 'node:path';

const CGROUPS = '/sys/fs/cgroup';
/** Cgroups that the suites name, and those of their containers. */
const NAMES = /^(cgrouptest|testdir|test-tmp\w+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;
const PARENT = 'tkadm-oci';

/** Removes what containers without a process have left of the cgroups; their pid namespaces have ended by now. */
export async function removeCgroups(): Promise<void> {
  const roots = [CGROUPS, ...(await listDirectories(CGROUPS))];
  for (const root of roots) {
    for (const directory of await listDirectories(root)) {
      if (NAMES.test(basename(directory))) await removeTree(directory);
      if (basename(directory) !== PARENT) continue;
      for (const child of await listDirectories(directory))
        if (NAMES.test(basename(child))) await removeTree(child);
    }
  }
}

async function listDirectories(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(directory, name));
}

/** A cgroup that still has a process stays. */
async function removeTree(directory: string): Promise<void> {
  for (const child of await listDirectories(directory)) await removeTree(child);
  await rmdir(directory).catch(() => {});
}
