import { readFile, statfs } from 'node:fs/promises';
import type { PressureFacts } from './node-object.ts';

/** The kubelet's default hard eviction thresholds: memory.available, nodefs.available, pid.available. */
const MIN_MEMORY_BYTES = 100 * 1024 * 1024;
const MIN_STORAGE_SHARE = 0.1;
const MIN_STORAGE_INODE_SHARE = 0.05;
const MIN_PID_SHARE = 0.01;

/** Whether memory, disk or process ids run out on this machine. */
export async function readPressure(rootDir: string): Promise<PressureFacts> {
  const [memory, storage, pids] = await Promise.all([
    readAvailableMemory(),
    statfs(rootDir).catch(() => undefined),
    readPidShare(),
  ]);
  const blocks = storage ? storage.bavail / storage.blocks : 1;
  const inodes = storage && storage.files > 0 ? storage.ffree / storage.files : 1;
  return {
    hasMemoryPressure: memory < MIN_MEMORY_BYTES,
    hasDiskPressure: blocks < MIN_STORAGE_SHARE || inodes < MIN_STORAGE_INODE_SHARE,
    hasPidPressure: pids < MIN_PID_SHARE,
  };
}

async function readAvailableMemory(): Promise<number> {
  const text = await readFile('/proc/meminfo', 'utf8');
  return Number(/^MemAvailable:\s+(\d+) kB$/m.exec(text)?.[1] ?? Number.MAX_SAFE_INTEGER) * 1024;
}

async function readPidShare(): Promise<number> {
  const max = Number(await readFile('/proc/sys/kernel/pid_max', 'utf8'));
  const load = await readFile('/proc/loadavg', 'utf8');
  const used = Number(/ \d+\/(\d+) /.exec(load)?.[1] ?? 0);
  return max > 0 ? (max - used) / max : 1;
}
