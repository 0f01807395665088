import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { sleep } from '../base/time.ts';
import { readDetailsV1, readDetailsV2 } from './cgroup-details.ts';
import type { CgroupHost } from './cgroup-host.ts';
import { buildDeviceRules, buildV1Writes, buildV2Writes, type CgroupWrite } from './cgroup-limits.ts';
import {
  type CgroupUsage,
  readField,
  readNumber,
  readText,
  readUsageV1,
  readUsageV2,
} from './cgroup-usage.ts';
import { setDeviceProgram } from './device-cgroup.ts';
import { buildDeviceProgram } from './device-filter.ts';
import type { ContainerStats, ResourceUpdate } from './engine.ts';
import type { CgroupMounts } from './launch-bundle.ts';
import type { Libc } from './libc.ts';

export interface CgroupContext {
  readonly host: CgroupHost;
  readonly libc: Libc;
  readonly log: Logger;
  /** Processes join cgroup v2 as well when v1 has the controllers: systemd looks for them there. */
  readonly hasUnified?: boolean;
}

/** The container's cgroup directories. */
export interface Cgroup {
  /** Path below each controller's mount. */
  readonly path: string;
  /** Makes the directories with these limits; what it resolves with is called once the container has joined. */
  create(resources: ResourceUpdate | undefined): Promise<() => void>;
  update(resources: ResourceUpdate): Promise<void>;
  /** Files that a process writes "0" to in order to join. */
  readonly joinFiles: readonly string[];
  /** The same for directories below, see LaunchTraits.cgroups. @throws FLAG_INVALID */
  joinFilesBelow(places: readonly string[]): readonly string[];
  pids(): readonly number[];
  freeze(isFrozen: boolean): Promise<void>;
  isFrozen(): boolean;
  isOomKilled(): boolean;
  /** How many of its processes the kernel has killed for memory. */
  oomKills(): number;
  /** Signals every process. */
  kill(signal: NodeJS.Signals): void;
  /** Usage and limits as runc's `events` prints them. */
  usage(): CgroupUsage;
  stats(): ContainerStats | undefined;
  /** Kills what is left, then removes the directories. @throws CGROUP_BUSY after one second. */
  remove(): Promise<void>;
}

/** The cgroup of one container at `path`, "/kubepods/podUID/ID". */
export function openCgroup(context: CgroupContext, path: string): Cgroup {
  return context.host.version === 2
    ? openV2(context, context.host, path)
    : openV1(context, context.host, path);
}

interface CgroupPlace {
  readonly text: string;
  /** None for all. */
  readonly controllers: readonly string[];
  readonly path: string;
}

/** "PATH" or "CONTROLLER,..:PATH". @throws FLAG_INVALID when it leads out */
function parseCgroupPlace(text: string): CgroupPlace {
  const [, controllers = '', path = ''] = /^(?:([^/:]+):)?(.*)$/s.exec(text) ?? [];
  if (path.split('/').includes('..')) throw badPlace(text, "it leads out of the container's cgroup");
  return { text, controllers: controllers.split(',').filter(Boolean), path };
}

function badPlace(text: string, state: string): TkadmError {
  return new TkadmError('FLAG_INVALID', `Cannot use cgroup "${text}": ${state}`);
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

function openV1(context: CgroupContext, host: CgroupHost & { version: 1 }, path: string): Cgroup {
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
      for (const { text, controllers, path: inside } of places.map(parseCgroupPlace)) {
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

function openV2(context: CgroupContext, host: CgroupHost & { version: 2 }, path: string): Cgroup {
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
      const [first, ...others] = places.map(parseCgroupPlace);
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

/** A limit below what is used would kill, which `checkBeforeUpdate` is to prevent. @throws CGROUP_WRITE */
function checkUsage({ memory }: ResourceUpdate, usage = 0): void {
  if (!memory?.checkBeforeUpdate || !memory.limit || memory.limit < 0 || memory.limit >= usage) return;
  throw new TkadmError(
    'CGROUP_WRITE',
    `Cannot set "memory.limit" to "${memory.limit}": ${usage} bytes are in use`,
  );
}

function killPids(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {}
  }
}

function applyWrites(
  writes: readonly CgroupWrite[],
  directoryOf: (controller: string) => string | undefined,
  log: Logger,
): void {
  for (const { controller, file, otherFile, value, field, isOptional } of writes) {
    // The names of some are the spec's.
    if (file.includes('/'))
      throw new TkadmError('CGROUP_WRITE', `Cannot set "${field}": "${file}" is no file of a cgroup`);
    const directory = directoryOf(controller);
    if (directory === undefined) {
      if (isOptional) continue;
      throw unsupported(controller, field);
    }
    try {
      const isThere = otherFile === undefined || existsSync(join(directory, file));
      writeFileSync(join(directory, isThere ? file : otherFile), value);
    } catch (error) {
      if (isOptional) {
        log.debug('optional cgroup file not written', { file, value });
        continue;
      }
      throw new TkadmError(
        'CGROUP_WRITE',
        `Cannot set "${field}" to "${value}": ${(error as Error).message}`,
        { cause: error },
      );
    }
  }
}

function unsupported(controller: string, field: string): TkadmError {
  return new TkadmError(
    'CGROUP_UNSUPPORTED',
    `Cannot apply "${field}": this machine has no cgroup controller "${controller}"`,
  );
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

async function removeDirectories(directories: readonly string[]): Promise<void> {
  let left = directories;
  for (let tries = 0; tries < 100; tries += 1) {
    left = left.filter((directory) => !removeTree(directory));
    if (left.length === 0) return;
    await sleep(Math.min(2 + tries, 20));
  }
  throw new TkadmError('CGROUP_BUSY', `Cannot remove cgroup "${left[0]}": processes are left in it`);
}

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
  for (const pid of readPids(directory)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {}
  }
  return false;
}

/** Every process of a cgroup and those below it. */
function readPids(directory: string | undefined): readonly number[] {
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
