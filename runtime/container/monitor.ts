import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  constants as fs,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { SLOT_FIFOS, SLOT_FILES } from './launch-bundle.ts';
import type { Libc } from './libc.ts';

/**
 * The monitor of one container, run by `sh` in the slot's directory; "$@" is the launcher's command.
 * It holds both ends of the output FIFOs, so that nothing is lost while no engine runs, and the write
 * end of the input FIFO until SIGUSR1. When the container has ended it writes the exit code, drops its
 * write ends (the engine sees the end of file) and stays until the engine has read everything.
 * The file's modification time is the time of the exit.
 */
const MONITOR_SCRIPT = `
exec 4<>out 5<>err 6<>in 7<out 8<err
[ -z "$TKADM_TERMINAL" ] || exec 9<>/dev/ptmx
trap 'exec 6>&-' USR1
printf '%s\\n' $$ > monitor
if [ -n "$TKADM_INHERIT" ]; then "$@" <&0 4>&- 5>&- 6>&- 7<&- 8<&- &
else "$@" <in >out 2>err 4>&- 5>&- 6>&- 7<&- 8<&- &
fi
pid=$!
exec 3>&-
while :; do wait $pid; code=$?; kill -0 $pid 2>/dev/null || break; done
[ -e state.json ] || exit 0
exec 4>&- 5>&- 6>&-
printf '%s\\n' $code > exit
{ read -r done < ack; } 2>/dev/null
`;

/**
 * A launcher runs for milliseconds: it needs no threads for compiling and collecting. (A pool of none at all
 * can hang at the exit, when Node.js waits for its tasks.)
 */
export const LAUNCHER_FLAGS = [
  '--v8-pool-size=1',
  '--single-threaded',
  '--no-opt',
  '--max-semi-space-size=1',
] as const;

export interface SlotOptions {
  readonly directory: string;
  readonly nodePath: string;
  readonly launcherPath: string;
  /** How the pid namespace is made: a new one, the host's, or the one at a path. */
  readonly pidNamespace: 'new' | 'host' | { readonly path: string };
  readonly terminal: boolean;
  /** The container has this process's standard streams instead of the FIFOs. */
  readonly inheritStreams: boolean;
  /** Nobody waits for it yet: the launcher may rehearse, which makes its launch faster. */
  readonly isPooled: boolean;
}

export interface Slot {
  readonly directory: string;
  readonly control: Socket;
  readonly monitor: ChildProcess;
}

/** Starts a monitor with a launcher that waits for its bundle on `control`. */
export function startSlot(libc: Libc, options: SlotOptions): Slot {
  mkdirSync(options.directory, { recursive: true, mode: 0o700 });
  for (const name of SLOT_FIFOS) libc.mkfifo(join(options.directory, name), 0o600);
  mkdirSync(join(options.directory, SLOT_FILES.staging));
  writeFileSync(join(options.directory, SLOT_FILES.owner), `${process.pid} ${readStartTime(process.pid)}`);
  const [command = '', ...args] = buildCommand(options);
  const monitor = spawn(command, args, {
    cwd: options.directory,
    detached: true,
    stdio: options.inheritStreams
      ? ['inherit', 'inherit', 'inherit', 'pipe']
      : ['ignore', 'ignore', 'ignore', 'pipe'],
    env: {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      ...(options.terminal ? { TKADM_TERMINAL: '1' } : {}),
      ...(options.inheritStreams ? { TKADM_INHERIT: '1' } : {}),
    },
  });
  monitor.unref();
  // A command that is missing shows as the end of the control socket.
  monitor.on('error', () => {});
  const control = monitor.stdio[3] as unknown as Socket;
  return { directory: options.directory, control, monitor };
}

/** The exit that a monitor has written; undefined while the container lives. */
export function readExit(
  directory: string,
): { readonly code: number; readonly finishedAt: Date } | undefined {
  try {
    const path = join(directory, SLOT_FILES.exit);
    const text = readFileSync(path, 'utf8');
    return text.endsWith('\n') ? { code: Number(text), finishedAt: statSync(path).mtime } : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Writes to a FIFO without waiting for a reader; false when nobody reads it. */
export function writeFifo(path: string, text: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, fs.O_WRONLY | fs.O_NONBLOCK);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENXIO' || code === 'ENOENT') return false;
    throw error;
  }
  try {
    writeSync(fd, text);
    return true;
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

/**
 * The monitor stays in the host's pid namespace; its one child is born in the container's. (With
 * "unshare --fork" a process of util-linux would stand between them, which up to 2.38 turns SIGKILL into exit code 1.)
 */
function buildCommand(options: SlotOptions): readonly string[] {
  const staging = join(options.directory, SLOT_FILES.staging);
  const rehearsal = options.isPooled ? [staging] : [];
  const launcher = [options.nodePath, ...LAUNCHER_FLAGS, options.launcherPath, 'container', ...rehearsal];
  const monitor = ['/bin/sh', '-c', MONITOR_SCRIPT, 'tkadm-monitor', ...launcher];
  if (options.pidNamespace === 'new') return ['unshare', '--pid', ...monitor];
  if (options.pidNamespace === 'host') return monitor;
  return ['nsenter', `--pid=${options.pidNamespace.path}`, '--no-fork', ...monitor];
}

/** True while the engine that made the slot lives; its unfinished work must be left alone. */
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
