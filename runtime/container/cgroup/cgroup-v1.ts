import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TkadmError } from '../../base/errors.ts';
import { sleep } from '../../base/time.ts';
import type { ResourceUpdate } from '../engine.ts';
import type { Cgroup, CgroupContext } from './cgroup.ts';
import { readDetailsV1 } from './cgroup-details.ts';
import type { CgroupHost } from './cgroup-host.ts';
import { buildV1Writes } from './cgroup-limits.ts';
import { killPids, readPids, removeDirectories } from './cgroup-tree.ts';
import { readField, readNumber, readText, readUsageV1 } from './cgroup-usage.ts';
import { applyWrites, checkUsage, unsupported } from './cgroup-writes.ts';
import { badPlace, parsePlaceBelow } from './place-below.ts';

/** A cgroup of version 1: a directory below the mount of each controller. */
export function openV1(context: CgroupContext, host: CgroupHost & { version: 1 }, path: string): Cgroup {
  const directories = new Map<string, string>();
  for (const { controllers, mountPoint } of host.hierarchies) {
    for (const controller of controllers) directories.set(controller, join(mountPoint, path));
  }
  const unique = [...new Set(directories.values())];
  const unified = context.hasUnified && host.unified !== undefined ? [join(host.unified, path)] : [];
  const unifiedFiles = unified.map((directory) => join(directory, 'cgroup.procs'));
  const directoryOf = (controller: string) => directories.get(controller);
  const apply = (resources: ResourceUpdate) =>
    applyWrites(buildV1Writes(resources), directoryOf, context.log);
  const number = (controller: string, file: string) => readNumber(directoryOf(controller), file);
  const pidDirectory = directoryOf('pids') ?? unique[0];
  return {
    path,
    async create(resources) {
      for (const directory of [...unique, ...unified]) mkdirSync(directory, { recursive: true });
      const cpuset = directoryOf('cpuset');
      const mount = host.hierarchies.find(({ controllers }) => controllers.includes('cpuset'))?.mountPoint;
      if (cpuset !== undefined && mount !== undefined) inheritCpuset(cpuset, mount);
      if (resources !== undefined) apply(resources);
      return () => {};
    },
    async update(resources) {
      checkUsage(resources, number('memory', 'memory.usage_in_bytes'));
      apply(resources);
    },
    // "tasks" moves the calling thread alone and, unlike cgroup.procs, without waiting for an RCU grace
    // period (10 ms); the process that joins has no other thread.
    joinFiles: [...unique.map((directory) => join(directory, 'tasks')), ...unifiedFiles],
    joinFilesBelow(places) {
      const below = new Map(unique.map((directory) => [directory, directory]));
      for (const { text, controllers, path: inside } of places.map(parsePlaceBelow)) {
        const named = controllers.map(directoryOf);
        if (named.includes(undefined))
          throw badPlace(text, 'it names a controller that this machine has not');
        for (const directory of controllers.length === 0 ? unique : named) {
          below.set(directory!, join(directory!, inside));
        }
      }
      return [...[...below.values()].map((directory) => join(directory, 'tasks')), ...unifiedFiles];
    },
    pids: () => readPids(pidDirectory),
    async freeze(isFrozen) {
      const directory = directoryOf('freezer');
      if (directory === undefined) throw unsupported('freezer', 'pause');
      const state = isFrozen ? 'FROZEN' : 'THAWED';
      for (let tries = 0; tries < 500; tries += 1) {
        writeFileSync(join(directory, 'freezer.state'), state);
        if (readFileSync(join(directory, 'freezer.state'), 'utf8').trim() === state) return;
        await sleep(2);
      }
      throw new TkadmError('CGROUP_BUSY', `Cannot freeze "${directory}": still not ${state}`);
    },
    isFrozen: () => (readText(directoryOf('freezer'), 'freezer.state') ?? 'THAWED').trim() !== 'THAWED',
    isOomKilled: () => (readField(directoryOf('memory'), 'memory.oom_control', 'oom_kill') ?? 0) > 0,
    oomKills: () => readField(directoryOf('memory'), 'memory.oom_control', 'oom_kill') ?? 0,
    kill: (signal) => killPids(readPids(pidDirectory), signal),
    usage: () => readUsageV1(directoryOf),
    stats() {
      const cpu = readText(directoryOf('cpuacct'), 'cpuacct.usage');
      const usage = number('memory', 'memory.usage_in_bytes');
      if (cpu === undefined && usage === undefined) return undefined;
      const memory = directoryOf('memory');
      const inactive = readField(memory, 'memory.stat', 'total_inactive_file') ?? 0;
      return {
        cpuUsageNanos: BigInt(cpu?.trim() ?? 0),
        memoryUsageBytes: usage ?? 0,
        memoryWorkingSetBytes: Math.max(0, (usage ?? 0) - inactive),
        memoryRssBytes: readField(memory, 'memory.stat', 'total_rss') ?? 0,
        pids: number('pids', 'pids.current') ?? 0,
        ...readDetailsV1(memory),
      };
    },
    remove: () => removeDirectories([...unique, ...unified]),
  };
}

/** cgroup v1: a new cpuset is empty and takes no process until it has CPUs and memory nodes. */
function inheritCpuset(directory: string, mountPoint: string): void {
  if (directory === mountPoint || directory.length < mountPoint.length) return;
  inheritCpuset(dirname(directory), mountPoint);
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    if (readText(directory, file)?.trim() !== '') continue;
    writeFileSync(join(directory, file), readText(dirname(directory), file) ?? '');
  }
}
