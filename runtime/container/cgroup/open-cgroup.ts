import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CgroupMounts } from '../launch-bundle.ts';
import type { Cgroup, CgroupContext } from './cgroup.ts';
import type { CgroupHost } from './cgroup-host.ts';
import { openV1 } from './cgroup-v1.ts';
import { openV2 } from './cgroup-v2.ts';

/** The cgroup of one container at `path`, "/kubepods/podUID/ID". */
export function openCgroup(context: CgroupContext, path: string): Cgroup {
  return context.host.version === 2
    ? openV2(context, context.host, path)
    : openV1(context, context.host, path);
}

/** Moves a process to the cgroup v2 directory at `path`, which is made; does nothing on v1. */
export function moveToCgroup(host: CgroupHost, path: string, pid: number): void {
  if (host.version === 1) return;
  const directory = join(host.mountPoint, path);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'cgroup.procs'), String(pid));
}

/** How mounts of type "cgroup" look inside a container of this host. */
export function buildCgroupMounts(host: CgroupHost): CgroupMounts {
  if (host.version === 2) return { version: 2, mountPoint: host.mountPoint };
  return {
    version: 1,
    hierarchies: host.hierarchies.map(({ controllers, mountPoint }) => ({
      mountPoint,
      name: controllers.map((name) => name.replace(/^name=/, '')).join(','),
      options: controllers.map((name) => (name.startsWith('name=') ? `none,${name}` : name)).join(','),
    })),
  };
}
