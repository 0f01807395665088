import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists } from '../base/files.ts';
import { type CgroupHost, parseCgroupHost } from '../container/cgroup/cgroup-host.ts';
import { type CtrContext, engineId } from './ctr-context.ts';
import { isRunning } from './ctr-lifecycle.ts';
import type { ProcessRow, StatsSample } from './ctr-messages.ts';
import type { CtrRecord } from './ctr-record.ts';

/** sysconf(_SC_CLK_TCK) of every Linux architecture. */
const TICKS_PER_S = 100;
/** A limit of this size is cgroup v1's "none". */
const NO_LIMIT_BYTES = 2 ** 60;

/** The figures of a container; all 0 when it does not run, undefined when it has just ended. */
export async function readStats(context: CtrContext, record: CtrRecord): Promise<StatsSample | undefined> {
  const { id, name } = record;
  const head = { id, name, readAt: context.now().toISOString() };
  if (!isRunning(record)) return { ...head, ...NO_USAGE };
  const stats = await context.engine.stats(engineId(record.id));
  if (stats === undefined) return undefined;
  const cgroup = await openCgroupFiles(`${context.cgroupParent}/${record.id}`);
  const [network, block, memoryLimitBytes] = await Promise.all([
    record.networkMode === 'bridge' ? readNetwork(record.state.pid) : NO_TRAFFIC,
    cgroup.blockBytes(),
    cgroup.memoryLimit(),
  ]);
  return {
    ...head,
    cpuNanos: Number(stats.cpuUsageNanos),
    memoryBytes: stats.memoryWorkingSetBytes,
    memoryLimitBytes,
    ...network,
    ...block,
    pids: stats.pids,
  };
}

const NO_TRAFFIC = { rxBytes: 0, txBytes: 0 } as const;
const NO_USAGE = {
  ...NO_TRAFFIC,
  cpuNanos: 0,
  memoryBytes: 0,
  memoryLimitBytes: 0,
  readBytes: 0,
  writtenBytes: 0,
  pids: 0,
} as const;

/** Bytes through the interfaces of a process's network namespace, but "lo"; proc_pid_net_dev(5). */
async function readNetwork(pid: number): Promise<{ readonly rxBytes: number; readonly txBytes: number }> {
  const text = (await readFileIfExists(`/proc/${pid}/net/dev`)) ?? '';
  const rows = text
    .split('\n')
    .slice(2)
    .map((line) => line.trim().split(/[\s:]+/))
    .filter(([name]) => name && name !== 'lo');
  const sum = (column: number) => rows.reduce((total, row) => total + Number(row[column] ?? 0), 0);
  return { rxBytes: sum(1), txBytes: sum(9) };
}

interface CgroupFiles {
  blockBytes(): Promise<{ readonly readBytes: number; readonly writtenBytes: number }>;
  /** 0 without a limit. */
  memoryLimit(): Promise<number>;
  pids(): Promise<readonly number[]>;
}

async function openCgroupFiles(path: string): Promise<CgroupFiles> {
  const host = parseCgroupHost(await readFile('/proc/self/mountinfo', 'utf8'));
  const read = async (controller: string, file: string) => {
    const directory = findDirectory(host, controller, path);
    return directory === undefined ? '' : ((await readFileIfExists(join(directory, file))) ?? '');
  };
  return {
    async blockBytes() {
      const text =
        host.version === 2
          ? await read('io', 'io.stat')
          : await read('blkio', 'blkio.throttle.io_service_bytes');
      const sum = (pattern: RegExp) =>
        [...text.matchAll(pattern)].reduce((total, match) => total + Number(match[1]), 0);
      return { readBytes: sum(/(?:Read |rbytes=)(\d+)/g), writtenBytes: sum(/(?:Write |wbytes=)(\d+)/g) };
    },
    async memoryLimit() {
      const file = host.version === 2 ? 'memory.max' : 'memory.limit_in_bytes';
      const limit = Number((await read('memory', file)).trim());
      return Number.isFinite(limit) && limit < NO_LIMIT_BYTES ? limit : 0;
    },
    async pids() {
      const directory = findDirectory(host, 'pids', path);
      return directory === undefined ? [] : readPids(directory);
    },
  };
}

function findDirectory(host: CgroupHost, controller: string, path: string): string | undefined {
  if (host.version === 2) return join(host.mountPoint, path);
  const found = host.hierarchies.find(({ controllers }) => controllers.includes(controller));
  return found && join(found.mountPoint, path);
}

async function readPids(directory: string): Promise<readonly number[]> {
  const text = (await readFileIfExists(join(directory, 'cgroup.procs'))) ?? '';
  const entries = await readdir(directory, { withFileTypes: true }).catch(() => []);
  const below = await Promise.all(
    entries.filter((entry) => entry.isDirectory()).map((entry) => readPids(join(directory, entry.name))),
  );
  return [...text.split('\n').filter(Boolean).map(Number), ...below.flat()].sort((a, b) => a - b);
}

/** The processes of a running container, with their pids of the host; proc_pid_stat(5). */
export async function listProcesses(context: CtrContext, record: CtrRecord): Promise<readonly ProcessRow[]> {
  const cgroup = await openCgroupFiles(`${context.cgroupParent}/${record.id}`);
  const bootAt = Number(/^btime (\d+)$/m.exec(await readFile('/proc/stat', 'utf8'))?.[1] ?? 0);
  const names = parseUserNames((await readFileIfExists('/etc/passwd')) ?? '');
  const rows = await Promise.all((await cgroup.pids()).map((pid) => readProcess(pid, bootAt, names)));
  return rows.filter((row) => row !== undefined);
}

async function readProcess(
  pid: number,
  bootAtS: number,
  userNames: ReadonlyMap<string, string>,
): Promise<ProcessRow | undefined> {
  const [stat, status, commandLine] = await Promise.all(
    ['stat', 'status', 'cmdline'].map((name) =>
      readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => undefined),
    ),
  );
  if (stat === undefined || status === undefined) return undefined;
  const [, name = ''] = /\((.*)\)/s.exec(stat) ?? [];
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const field = (number: number) => fields[number - 3] ?? 0;
  const uid = /^Uid:\s+(\d+)/m.exec(status)?.[1] ?? '0';
  const command = (commandLine ?? '').replaceAll('\0', ' ').trim();
  return {
    uid: userNames.get(uid) ?? uid,
    pid,
    parentPid: field(4),
    startedAt: new Date((bootAtS + field(22) / TICKS_PER_S) * 1000).toISOString(),
    terminal: describeTerminal(field(7)),
    cpuMs: ((field(14) + field(15)) * 1000) / TICKS_PER_S,
    command: command === '' ? `[${name}]` : command,
  };
}

/** "pts/0" of a device number: major 136 and up are pseudo-terminals. */
function describeTerminal(device: number): string {
  const major = (device >> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >> 12) & 0xfff00);
  return major >= 136 && major <= 143 ? `pts/${minor + (major - 136) * 256}` : '?';
}

function parseUserNames(passwd: string): ReadonlyMap<string, string> {
  const rows = passwd.split('\n').map((line) => line.split(':'));
  return new Map(rows.toReversed().flatMap(([name, , uid]) => (name && uid ? [[uid, name] as const] : [])));
}
