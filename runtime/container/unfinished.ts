import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { CgroupContext } from './cgroup/cgroup.ts';
import { openCgroup } from './cgroup/open-cgroup.ts';
import { SLOT_FILES } from './launch-bundle.ts';
import { findMonitor, isOwnerAlive, killTree } from './monitor.ts';
import type { OciSpec } from './oci-spec.ts';

/** Removes what engines that have gone left behind before a container was recorded: processes, cgroup and files. */
export async function removeUnfinished(cgroups: CgroupContext, directory: string): Promise<void> {
  if (isOwnerAlive(directory)) return;
  const monitor = findMonitor(directory);
  if (monitor !== undefined) killTree(monitor);
  const cgroupPath = readCgroupPath(directory);
  if (cgroupPath !== undefined) await openCgroup(cgroups, cgroupPath).remove();
  rmSync(directory, { recursive: true, force: true });
}

/** The spec is written before the cgroup is made. */
function readCgroupPath(directory: string): string | undefined {
  try {
    const spec = JSON.parse(readFileSync(join(directory, SLOT_FILES.config), 'utf8')) as OciSpec;
    return spec.linux?.cgroupsPath;
  } catch {
    return undefined;
  }
}
