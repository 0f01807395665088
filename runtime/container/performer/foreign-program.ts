import type { RootfsSource } from '../engine.ts';
import { AT_FDCWD, CLONE, MNT_DETACH, MS, OPEN } from '../kernel-constants.ts';
import { SLOT_FILES } from '../launch-bundle.ts';
import type { Machine } from '../seccomp/syscall-numbers.ts';
import { REPORT_FD } from './machine.ts';
import {
  beginMonitor,
  holdStreams,
  MASTER_FD,
  recordExit,
  releaseStreams,
  waitForExit,
} from './monitor-program.ts';
import { joinCgroups, maskSignals } from './process-program.ts';
import { type DataRef, type LinkedProgram, linkProgram, Section } from './program.ts';
import { buildReport, REPORT, sendReport } from './report-program.ts';
import { mountSource } from './root-source.ts';

const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const SIGCHLD = 17;
const PR_SET_CHILD_SUBREAPER = 36;
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const MSG_CMSG_CLOEXEC = 0x40000000;
/** close_range(2): CLOSE_RANGE_CLOEXEC */
const CLOSE_ON_EXEC = 4;
const LAST_FD = 0xffffffff;
/** Room for the terminal's name, which comes with the descriptor. */
const NAME_SIZE = 256;
/** The shell's exit code for a program that cannot be run. */
const NOT_RUN = 127;
/** Where cgroup v2 is when v1 is at its side. */
const UNIFIED = '/sys/fs/cgroup/unified';
/** In the container's directory, as a path that fits into sockaddr_un. */
export const CONSOLE_SOCKET = 'console';

export interface ForeignProgramOptions {
  readonly machine: Machine;
  readonly rootfs: RootfsSource;
  /** The container's directory, which is the bundle. */
  readonly directory: string;
  /** The program's path and its arguments for "create". */
  readonly argv: readonly string[];
  /** Files to write "0" to before it is executed. */
  readonly cgroupJoinFiles: readonly string[];
  readonly terminal: boolean;
  readonly stdin: boolean;
}

/**
 * The program of a monitor whose container another runtime makes, runc or crun:
 *
 *     monitor: mounts the root file system where it alone sees it; clones; reports the runtime's wait status; reads the
 *              container's pid from "start" (it has become its parent, PR_SET_CHILD_SUBREAPER); takes the terminal's
 *              master; is ready; waits; writes "exit"; waits for "ack"
 *     child:   FIFOs as standard streams; execve(2) of the runtime
 */
export function buildForeignProgram(options: ForeignProgramOptions): LinkedProgram {
  const { machine, rootfs, directory, terminal } = options;
  const [section, child] = [new Section(), new Section()];
  beginMonitor(section, directory);
  const streams = holdStreams(section);
  const start = section.room();
  const flags = OPEN.RDWR | O_CLOEXEC;
  section.call('openat', [AT_FDCWD, section.text(SLOT_FILES.start), flags, 0], { into: start });
  section.call('prctl', [PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0]);
  const listener = terminal ? listen(section) : undefined;
  section.step('make a mount namespace');
  section.call('unshare', [CLONE.NEWNS]);
  section.call('mount', [0, section.text('/'), 0, MS.REC | MS.SLAVE, 0]);
  hideUnified(section);
  mountSource(section, rootfs, `${directory}/${SLOT_FILES.staging}`);
  section.call('chdir', [section.text(directory)]);
  runRuntime(section, child);
  buildRuntime(child, options);
  const pid = section.room();
  section.step('read the pid');
  section.call('read', [{ at: start }, pid, 8]);
  if (listener !== undefined) takeMaster(section, listener);
  sendReport(section, REPORT_FD, buildReport(section, REPORT.ready).data);
  section.call('close', [REPORT_FD]);
  releaseStreams(section);
  section.forget(child);
  const status = waitForExit(section, pid, streams[0]);
  recordExit(section, { status, open: streams });
  return linkProgram([section, child], machine);
}

/** Older releases of crun refuse to see cgroup v1 and v2 side by side: it need not see v2 where v1 has the limits. */
function hideUnified(section: Section): void {
  const next = section.label();
  section.call('umount2', [section.text(UNIFIED), MNT_DETACH], { onError: next });
  section.place(next);
}

/** Clones, and reports how the child ended. */
function runRuntime(section: Section, child: Section): void {
  const born = child.label();
  child.place(born);
  const runtime = section.room();
  const { data, value } = buildReport(section, REPORT.exit);
  section.step('clone');
  section.call('clone', [SIGCHLD, 0, 0, 0, 0], { into: runtime, on: [[0, born]] });
  section.step('wait');
  section.call('wait4', [{ at: runtime }, value, 0, 0]);
  sendReport(section, REPORT_FD, data);
}

function buildRuntime(
  child: Section,
  { argv, cgroupJoinFiles, terminal, stdin }: ForeignProgramOptions,
): void {
  const lost = child.label();
  maskSignals(child, false);
  joinCgroups(child, cgroupJoinFiles);
  const rows = [
    [!terminal && stdin ? SLOT_FILES.stdin : '/dev/null', OPEN.RDONLY],
    [terminal ? '/dev/null' : SLOT_FILES.stdout, OPEN.WRONLY],
    [terminal ? '/dev/null' : SLOT_FILES.stderr, OPEN.WRONLY],
  ] as const;
  for (const [target, [path, flags]] of rows.entries()) {
    const fd = child.room();
    child.call('openat', [AT_FDCWD, child.text(path), flags | O_CLOEXEC, 0], { into: fd, onError: lost });
    child.call('dup3', [{ at: fd }, target, 0], { onError: lost });
  }
  child.call('close_range', [3, LAST_FD, CLOSE_ON_EXEC], { onError: lost });
  const env = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'];
  const pointers = (texts: readonly string[]) => child.pointers(texts.map((text) => child.text(text)));
  child.call('execve', [child.text(argv[0] ?? ''), pointers(argv), pointers(env)], { onError: lost });
  child.place(lost);
  child.call('exit_group', [NOT_RUN]);
}

/** Where the runtime sends the terminal's master: struct sockaddr_un { u16 family; char path[] }. */
function listen(section: Section): DataRef {
  const address = Buffer.alloc(2 + CONSOLE_SOCKET.length + 1);
  address.writeUInt16LE(AF_UNIX, 0);
  address.write(CONSOLE_SOCKET, 2);
  const fd = section.room();
  section.step('open the console socket');
  section.call('socket', [AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0], { into: fd });
  section.call('bind', [{ at: fd }, section.bytes(address), address.length]);
  section.call('listen', [{ at: fd }, 1]);
  return fd;
}

/**
 * Receives a descriptor with recvmsg(2): msghdr { name, namelen, iov, iovlen, control, controllen, flags },
 * control { u64 len; u32 level; u32 type; int fd }.
 */
function takeMaster(section: Section, listener: DataRef): void {
  const [connection, text, control] = [section.room(), section.room(NAME_SIZE), section.room(24)];
  const [vector, header] = [
    section.bytes(words({ 8: NAME_SIZE }, 16)),
    section.bytes(words({ 24: 1, 40: 24 }, 56)),
  ];
  section.point(header, 16, vector);
  section.point(header, 32, control);
  section.point(vector, 0, text);
  section.step('take the terminal');
  section.call('accept4', [{ at: listener }, 0, 0, O_CLOEXEC | O_NONBLOCK], { into: connection });
  section.call('recvmsg', [{ at: connection }, header, MSG_CMSG_CLOEXEC]);
  section.call('dup3', [{ at: { section, offset: control.offset + 16 } }, MASTER_FD, O_CLOEXEC]);
  for (const fd of [connection, listener]) section.call('close', [{ at: fd }]);
}

/** A structure of zeros but for numbers at some offsets. */
function words(numbers: Readonly<Record<number, number>>, size: number): Buffer {
  const buffer = Buffer.alloc(size);
  for (const [offset, number] of Object.entries(numbers)) buffer.writeUInt32LE(number, Number(offset));
  return buffer;
}
