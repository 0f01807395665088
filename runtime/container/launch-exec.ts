import { chownSync, closeSync, constants as fs, openSync, writeFileSync } from 'node:fs';
import type { ExecBundle, LaunchReport } from './launch-bundle.ts';
import { applyLimits, applyPrivileges, completeEnv, findProgram, prepareStreams } from './launch-process.ts';
import { CLONE, type Libc, type SpawnOpen } from './libc.ts';

const TIOCGPTN = 0x80045430;
const TIOCSPTLCK = 0x40045431;
const TIOCSWINSZ = 0x5414;
const ALL_NAMESPACES =
  CLONE.NEWNS | CLONE.NEWNET | CLONE.NEWIPC | CLONE.NEWUTS | CLONE.NEWCGROUP | CLONE.NEWPID;

export interface ExecControl {
  readonly report: (message: LaunchReport) => void;
  /** Blocks until the engine has taken the terminal; false when the engine has gone. */
  readonly waitForGo: () => boolean;
}

/**
 * Runs a process inside the container of `bundle.pid` and waits for it: the child is born in the
 * container's pid namespace, the launcher itself stays outside of it. Returns the launcher's exit code.
 */
export function runExec(libc: Libc, bundle: ExecBundle, control: ExecControl): number {
  const process_ = bundle.process;
  for (const file of bundle.cgroupJoinFiles) writeFileSync(file, '0');
  applyLimits(libc, process_);
  if (!process_.terminal) prepareStreams(libc, bundle.stdin, process_.user?.uid ?? 0);
  libc.unshare(CLONE.FS);
  const pidfd = libc.pidfdOpen(bundle.pid);
  libc.setns(pidfd, ALL_NAMESPACES, `join the namespaces of process ${bundle.pid}`);
  closeSync(pidfd);
  const env = completeEnv(process_);
  const terminal = process_.terminal ? openContainerTerminal(libc, process_) : undefined;
  if (terminal !== undefined) {
    control.report({ kind: 'terminal', pid: process.pid, masterFd: terminal.masterFd });
    if (!control.waitForGo()) return 0;
  }
  libc.closeOnExecFrom(3);
  applyPrivileges(libc, process_, bundle.seccomp);
  try {
    process.chdir(process_.cwd);
  } catch (error) {
    throw new Error(`chdir to cwd "${process_.cwd}": ${(error as NodeJS.ErrnoException).code}`);
  }
  const program = findProgram(process_.args, env);
  process.umask(process_.user?.umask ?? 0o022);
  const pid = libc.spawn(program, process_.args, { env, opens: terminal?.opens ?? [] });
  if (typeof pid === 'string') throw new Error(`exec: "${process_.args[0]}": ${pid}`);
  control.report({ kind: 'running', pid });
  control.report({ kind: 'exited', code: libc.waitChild(pid) });
  return 0;
}

/** A pseudo-terminal of the container's own devpts; the child opens the slave, which makes it controlling. */
function openContainerTerminal(
  libc: Libc,
  process_: ExecBundle['process'],
): { readonly masterFd: number; readonly opens: readonly SpawnOpen[] } {
  const masterFd = openSync('/dev/ptmx', fs.O_RDWR | fs.O_NOCTTY);
  libc.ioctl(masterFd, TIOCSPTLCK, Buffer.alloc(4), 'unlock terminal');
  const number = Buffer.alloc(4);
  libc.ioctl(masterFd, TIOCGPTN, number, 'number terminal');
  const path = `/dev/pts/${number.readInt32LE(0)}`;
  if (process_.user?.uid) chownSync(path, process_.user.uid, -1 >>> 0);
  if (process_.consoleSize !== undefined) {
    const window = Buffer.alloc(8);
    window.writeUInt16LE(process_.consoleSize.height, 0);
    window.writeUInt16LE(process_.consoleSize.width, 2);
    libc.ioctl(masterFd, TIOCSWINSZ, window, 'size terminal');
  }
  return { masterFd, opens: [0, 1, 2].map((fd) => ({ fd, path, flags: fs.O_RDWR })) };
}
