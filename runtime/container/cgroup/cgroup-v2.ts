import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TkadmError } from '../../base/errors.ts';
import { sleep } from '../../base/time.ts';
import type { ResourceUpdate } from '../engine.ts';
import type { Cgroup, CgroupContext } from './cgroup.ts';
import { readDetailsV2 } from './cgroup-details.ts';
import type { CgroupHost } from './cgroup-host.ts';
import { buildDeviceRules, buildV2Writes } from './cgroup-limits.ts';
import { killPids, readPids, removeDirectories } from './cgroup-tree.ts';
import { readField, readNumber, readUsageV2 } from './cgroup-usage.ts';
import { applyWrites, checkUsage } from './cgroup-writes.ts';
import { setDeviceProgram } from './device-cgroup.ts';
import { buildDeviceProgram } from './device-filter.ts';
import { badPlace, parsePlaceBelow } from './place-below.ts';

/** A cgroup of version 2: one directory for all controllers. */
export function openV2(context: CgroupContext, host: CgroupHost & { version: 2 }, path: string): Cgroup {
  const directory = join(host.mountPoint, path);
  const directoryOf = (controller: string) =>
    ['devices', 'freezer', 'unified'].includes(controller) || host.controllers.includes(controller)
      ? directory
      : undefined;
  const apply = (resources: ResourceUpdate) => {
    applyWrites(buildV2Writes(resources), directoryOf, context.log);
    const rules = buildDeviceRules(resources);
    if (rules !== undefined) setDeviceProgram(context.libc, directory, buildDeviceProgram(rules));
  };
  return {
    path,
    async create(resources) {
      mkdirSync(directory, { recursive: true });
      enableControllers(host, path);
      if (resources !== undefined) apply(resources);
      return () => {};
    },
    async update(resources) {
      checkUsage(resources, readNumber(directory, 'memory.current'));
      apply(resources);
    },
    joinFiles: [join(directory, 'cgroup.procs')],
    joinFilesBelow(places) {
      const [first, ...others] = places.map(parsePlaceBelow);
      if (others.length > 0) throw badPlace(places.join(' '), 'cgroup v2 has one for all controllers');
      if (first !== undefined && first.controllers.length > 0)
        throw badPlace(first.text, 'cgroup v2 has no controllers of their own');
      return [join(directory, first?.path ?? '', 'cgroup.procs')];
    },
    pids: () => readPids(directory),
    async freeze(isFrozen) {
      writeFileSync(join(directory, 'cgroup.freeze'), isFrozen ? '1' : '0');
      for (let tries = 0; tries < 500; tries += 1) {
        if (readField(directory, 'cgroup.events', 'frozen') === (isFrozen ? 1 : 0)) return;
        await sleep(2);
      }
      throw new TkadmError('CGROUP_BUSY', `Cannot freeze "${directory}": the state did not change`);
    },
    isFrozen: () => readNumber(directory, 'cgroup.freeze') === 1,
    isOomKilled: () => (readField(directory, 'memory.events', 'oom_kill') ?? 0) > 0,
    oomKills: () => readField(directory, 'memory.events', 'oom_kill') ?? 0,
    kill: (signal) => killPids(readPids(directory), signal),
    usage: () => readUsageV2(directory),
    stats() {
      const cpu = readField(directory, 'cpu.stat', 'usage_usec');
      const usage = readNumber(directory, 'memory.current');
      if (cpu === undefined && usage === undefined) return undefined;
      const inactive = readField(directory, 'memory.stat', 'inactive_file') ?? 0;
      return {
        cpuUsageNanos: BigInt(cpu ?? 0) * 1000n,
        memoryUsageBytes: usage ?? 0,
        memoryWorkingSetBytes: Math.max(0, (usage ?? 0) - inactive),
        memoryRssBytes: readField(directory, 'memory.stat', 'anon') ?? 0,
        pids: readNumber(directory, 'pids.current') ?? 0,
        ...readDetailsV2(directory),
      };
    },
    remove: () => removeDirectories([directory]),
  };
}

/** cgroup v2: turns every controller on in each directory above the container's. */
function enableControllers(host: CgroupHost & { version: 2 }, path: string): void {
  let directory = host.mountPoint;
  for (const part of path.split('/').filter(Boolean)) {
    for (const controller of host.controllers) {
      try {
        writeFileSync(join(directory, 'cgroup.subtree_control'), `+${controller}`);
      } catch {
        // A limit that needs the controller fails later with the field's name.
      }
    }
    directory = join(directory, part);
  }
}
