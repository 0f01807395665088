import {
  closeSync,
  constants as fs,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { SLOT_FIFOS, SLOT_FILES } from './launch-bundle.ts';
import type { Libc } from './libc.ts';

/** Pid and start time of this process, for makeDirectory(). */
export function describeOwner(): string {
  return `${process.pid} ${readStartTime(process.pid)}`;
}

/** Makes a container's directory with its FIFOs. @throws EEXIST when there is such a container. */
export function makeDirectory(libc: Libc, directory: string, owner: string): void {
  mkdirSync(directory, { mode: 0o700 });
  for (const name of SLOT_FIFOS) libc.mkfifo(join(directory, name), 0o600);
  mkdirSync(join(directory, SLOT_FILES.staging));
  writeFileSync(join(directory, SLOT_FILES.owner), owner);
}

/** Removes what makeDirectory() made, with the files in it; rmSync() would take three times as long. */
export function removeDirectory(directory: string): void {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) rmdirSync(path);
    else unlinkSync(path);
  }
  rmdirSync(directory);
}

/** The exit that a monitor has written; undefined while the container lives. */
export function readExit(
  directory: string,
): { readonly code: number; readonly finishedAt: Date } | undefined {
  try {
    const path = join(directory, SLOT_FILES.exit);
    const status = readFileSync(path);
    if (status.length < 4) return undefined;
    return { code: exitCode(status.readInt32LE(0)), finishedAt: statSync(path).mtime };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The exit code of a wait status, wait4(2): 128 + signal number for a death by signal. */
export function exitCode(status: number): number {
  return (status & 0x7f) === 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f);
}

/** Writes to a FIFO without waiting for a reader; false when nobody reads it. */
export function writeFifo(path: string, text: string | Buffer): boolean {
  let fd: number;
  try {
    fd = openSync(path, fs.O_WRONLY | fs.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENXIO' || code === 'ENOENT') return false;
    throw error;
  }
  try {
    writeSync(fd, Buffer.from(text));
    return true;
  } catch (error) {
    // The reader has ended since.
    if ((error as NodeJS.ErrnoException).code === 'EPIPE') return false;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** Start time of a process in clock ticks since boot, proc_pid_stat(5) field 22; undefined when it has ended. */
export function readStartTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

/** The living monitor of a container: a monitor's working directory is the container's. */
export function findMonitor(directory: string): number | undefined {
  return readdirSync('/proc')
    .map(Number)
    .find((pid) => {
      try {
        return pid > 0 && readlinkSync(`/proc/${pid}/cwd`) === directory;
      } catch {
        return false;
      }
    });
}

/** True while the engine that made the directory lives; its unfinished work must be left alone. */
export function isOwnerAlive(directory: string): boolean {
  try {
    const [pid, start] = readFileSync(join(directory, SLOT_FILES.owner), 'utf8').split(' ');
    return readStartTime(Number(pid)) === start;
  } catch {
    return false;
  }
}

/** Ends a monitor and all its descendants with SIGKILL. */
export function killTree(pid: number): void {
  for (const member of listTree(pid).toReversed()) {
    try {
      process.kill(member, 'SIGKILL');
    } catch {}
  }
}

function listTree(pid: number): readonly number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
    return [pid, ...children.flatMap((child) => listTree(Number(child)))];
  } catch {
    return [pid];
  }
}
