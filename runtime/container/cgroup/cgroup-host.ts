import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A cgroup v1 hierarchy: its mount and the controllers mounted together there. */
export interface CgroupHierarchy {
  readonly controllers: readonly string[];
  readonly mountPoint: string;
}

/** Where this machine's cgroups are: v1 hierarchies (hybrid machines have both), or v2 alone. */
export type CgroupHost =
  | { readonly version: 2; readonly mountPoint: string; readonly controllers: readonly string[] }
  | {
      readonly version: 1;
      readonly hierarchies: readonly CgroupHierarchy[];
      /** Where cgroup v2 is, without controllers, by which systemd knows its processes on a hybrid machine. */
      readonly unified?: string | undefined;
    };

/** Controllers that a container joins; the others (net_cls, perf_event, ...) stay at the host's root. */
const USED = [
  'cpu',
  'cpuacct',
  'cpuset',
  'memory',
  'devices',
  'freezer',
  'pids',
  'hugetlb',
  'blkio',
  'name=systemd',
];

/**
 * Finds the cgroup mounts, cgroups(7).
 * @param mountInfo content of /proc/self/mountinfo
 */
export function parseCgroupHost(
  mountInfo: string,
  readText: (path: string) => string = (path) => readFileSync(path, 'utf8'),
): CgroupHost {
  const hierarchies: CgroupHierarchy[] = [];
  let unified: string | undefined;
  for (const line of mountInfo.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const [type, , superOptions = ''] = right.split(' ');
    const mountPoint = left.split(' ')[4] ?? '';
    if (type === 'cgroup2') unified ??= mountPoint;
    if (type !== 'cgroup') continue;
    const controllers = superOptions.split(',').filter((option) => USED.includes(option));
    const isNew = !hierarchies.some((found) => found.controllers.join() === controllers.join());
    if (controllers.length > 0 && isNew) hierarchies.push({ controllers, mountPoint });
  }
  const hasControllers = hierarchies.some(({ controllers }) => !controllers[0]?.startsWith('name='));
  if (hasControllers || unified === undefined) return { version: 1, hierarchies, unified };
  const controllers = readText(join(unified, 'cgroup.controllers')).trim().split(' ').filter(Boolean);
  return { version: 2, mountPoint: unified, controllers };
}
