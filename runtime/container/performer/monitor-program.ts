import { AT_FDCWD, CLONE, OPEN } from '../kernel-constants.ts';
import { SLOT_FILES } from '../launch-bundle.ts';
import type { OciSpec } from '../oci-spec.ts';
import { REPORT_FD } from './machine.ts';
import { joinNamespace, needsMaker } from './namespaces.ts';
import { dropDescriptors, type PreservedDescriptors, takeDescriptors } from './preserved-descriptors.ts';
import { hide, maskSignals } from './process-program.ts';
import { type DataRef, type Label, type Section, writeEnd } from './program.ts';
import { buildReport, REPORT, sendReport } from './report-program.ts';
import { connectSocket, sendTerminal } from './socket-program.ts';
import { openTerminalMaster } from './terminal-program.ts';

const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const SIGUSR1 = 10;
const SIGCHLD = 17;
const SIGNAL_SET_SIZE = 8;
const WNOHANG = 1;
/** The descriptor under which the monitor holds the pseudo-terminal's master. */
export const MASTER_FD = 64;
/** The descriptor under which the child offers its mount namespace to the monitor. */
export const NAMESPACE_FD = 65;

const NONE: PreservedDescriptors = { pid: 0, fds: [] };

export interface MonitorOptions {
  readonly spec: OciSpec;
  /** The container's directory. */
  readonly directory: string;
  /** Where the terminal's master goes, when there is one. */
  readonly terminal: DataRef | undefined;
  /** Where the child begins. */
  readonly born: Label;
  /** Through it the child tells that its namespace is there. */
  readonly pipe: DataRef;
  /** Descriptors of another process that the container is to have. */
  readonly preserved?: PreservedDescriptors | undefined;
  /** What the child alone runs. */
  readonly forgotten: readonly Section[];
}

export type StarterOptions = Omit<MonitorOptions, 'forgotten'> & {
  /** A unix socket that gets the terminal's master. */
  readonly consoleSocket: string | undefined;
};

/**
 * The beginning of a container that whoever asked for it waits for, as runc's callers do: clones, reports the child's
 * pid and ends, so that the child goes to the nearest subreaper above, PR_SET_CHILD_SUBREAPER(2const).
 */
export function buildStarter(section: Section, options: StarterOptions): void {
  const { spec, directory, terminal, consoleSocket, born, pipe, preserved = NONE } = options;
  hide(section, 'tkadm-starter');
  maskSignals(section, true);
  enterDirectory(section, directory);
  takeDescriptors(section, preserved);
  if (terminal !== undefined) openMaster(section, terminal);
  if (consoleSocket !== undefined) sendTerminal(section, connectSocket(section, consoleSocket), MASTER_FD);
  const pid = buildReport(section, REPORT.pid);
  const birth = { pid: pid.value, pidfd: section.room(), pipe, born };
  if (needsMaker(spec)) bearByMaker(section, birth);
  else bear(section, spec, birth);
  sendReport(section, REPORT_FD, pid.data);
  section.call('exit_group', [0]);
}

/** Opens the FIFOs, clones, waits, writes the exit and waits until the engine has read the output. */
export function buildMonitor(section: Section, options: MonitorOptions): void {
  const { spec, directory, terminal, born, pipe, preserved = NONE, forgotten } = options;
  beginMonitor(section, directory);
  takeDescriptors(section, preserved);
  const [stdin, stdout, stderr] = holdStreams(section);
  if (terminal !== undefined) openMaster(section, terminal);
  const pid = buildReport(section, REPORT.pid);
  const pidfd = section.room();
  const birth = { pid: pid.value, pidfd, pipe, born };
  if (needsMaker(spec)) bearByMaker(section, birth);
  else bear(section, spec, birth);
  sendReport(section, REPORT_FD, pid.data);
  section.call('close', [REPORT_FD]);
  dropDescriptors(section, preserved);
  releaseStreams(section);
  for (const one of forgotten) section.forget(one);
  const namespace = holdNamespace(section, pidfd, pipe);
  const status = waitForExit(section, pid.value, stdin);
  recordExit(section, { status, open: [stdin, stdout, stderr], namespace });
}

/** Takes the monitor's name, tells who it is and goes to the container's directory. */
export function beginMonitor(section: Section, directory: string): void {
  hide(section, 'tkadm-monitor');
  maskSignals(section, true);
  enterDirectory(section, directory);
}

export interface ExitOptions {
  /** The wait status. */
  readonly status: DataRef;
  /** Descriptors to be closed before the exit is seen. */
  readonly open: readonly DataRef[];
  /** Closed after it. */
  readonly namespace?: DataRef;
}

/** Writes the exit and waits until the engine has read the output. */
export function recordExit(section: Section, { status, open, namespace }: ExitOptions): void {
  const end = section.label();
  section.call('faccessat', [AT_FDCWD, section.text(SLOT_FILES.state), 0], { onError: end });
  for (const fd of open) closeAny(section, fd);
  const file = section.room();
  section.step('write the exit code');
  const flags = OPEN.CREAT | OPEN.WRONLY | OPEN.TRUNC | O_CLOEXEC;
  section.call('openat', [AT_FDCWD, section.text(SLOT_FILES.exit), flags, 0o600], { into: file });
  section.call('write', [{ at: file }, status, 4]);
  section.call('close', [{ at: file }]);
  if (namespace !== undefined) closeAny(section, namespace);
  // The exit is kept: a machine that shuts down need not wait for this process.
  maskSignals(section, false);
  const ack = section.room();
  const readOnly = OPEN.RDONLY | O_CLOEXEC;
  section.call('openat', [AT_FDCWD, section.text(SLOT_FILES.ack), readOnly, 0], { into: ack, onError: end });
  section.call('read', [{ at: ack }, section.room(), 1], { onError: end });
  section.place(end);
  section.call('exit_group', [0]);
}

/** Tells the engine who this is, and goes to the container's directory. */
function enterDirectory(section: Section, directory: string): void {
  const self = buildReport(section, REPORT.monitor);
  section.call('getpid', [], { into: self.value });
  sendReport(section, REPORT_FD, self.data);
  section.step(`chdir to "${directory}"`);
  section.call('chdir', [section.text(directory)]);
}

interface Birth {
  readonly pid: DataRef;
  readonly pidfd: DataRef;
  readonly pipe: DataRef;
  readonly born: Label;
}

function bear(section: Section, spec: OciSpec, { pid, pidfd, pipe, born }: Birth): void {
  enterPidNamespace(section, spec);
  const isNew = (spec.linux?.namespaces ?? []).some(({ type, path }) => type === 'pid' && !path);
  section.step('clone');
  section.call('pipe2', [pipe, O_CLOEXEC]);
  section.call('clone', [SIGCHLD | CLONE.PIDFD | (isNew ? CLONE.NEWPID : 0), 0, pidfd, 0, 0], {
    into: pid,
    on: [[0, born]],
  });
  closeAny(section, writeEnd(pipe));
}

/** The child makes the namespaces and the container, which is our child as well (CLONE_PARENT), and ends. */
function bearByMaker(section: Section, { pid, pidfd, pipe, born }: Birth): void {
  const maker = section.room();
  const lost = section.label();
  section.step('clone');
  section.call('pipe2', [pipe, O_CLOEXEC]);
  section.call('clone', [SIGCHLD, 0, 0, 0, 0], { into: maker, on: [[0, born]] });
  closeAny(section, writeEnd(pipe));
  section.call('read', [{ at: pipe }, pid, 8], { on: [[0, lost]] });
  section.call('wait4', [{ at: maker }, 0, 0, 0]);
  section.call('pidfd_open', [{ at: pid }, 0], { into: pidfd });
  section.later(() => {
    section.place(lost);
    section.call('exit_group', [0]);
  });
}

/**
 * Takes the child's mount namespace when the child has made it. The kernel takes a namespace down within the exit of
 * the last process that has it and tells of the exit thereafter, milliseconds later: so it must not be the last.
 */
function holdNamespace(section: Section, pidfd: DataRef, pipe: DataRef): DataRef {
  const namespace = section.room();
  const next = section.label();
  section.call('read', [{ at: pipe }, section.room(), 1], { onError: next });
  section.call('pidfd_getfd', [{ at: pidfd }, NAMESPACE_FD, 0], { into: namespace, onError: next });
  section.place(next);
  return namespace;
}

/**
 * Holds both ends of the output's FIFOs, so that nothing is lost while no engine runs, and the write end of the input's
 * until SIGUSR1.
 */
export function holdStreams(section: Section): readonly [DataRef, DataRef, DataRef] {
  section.step('open FIFOs');
  const open = (name: string, flags: number) => {
    const fd = section.room();
    section.call('openat', [AT_FDCWD, section.text(name), flags | O_CLOEXEC, 0], { into: fd });
    return fd;
  };
  const streams = [
    open(SLOT_FILES.stdin, OPEN.RDWR),
    open(SLOT_FILES.stdout, OPEN.RDWR),
    open(SLOT_FILES.stderr, OPEN.RDWR),
  ] as const;
  for (const name of [SLOT_FILES.stdout, SLOT_FILES.stderr]) open(name, OPEN.RDONLY | O_NONBLOCK);
  return streams;
}

function openMaster(section: Section, terminal: DataRef): void {
  openTerminalMaster(section, '/dev/ptmx', terminal);
  section.call('dup3', [{ at: terminal }, MASTER_FD, O_CLOEXEC]);
  section.call('close', [{ at: terminal }]);
}

function enterPidNamespace(section: Section, spec: OciSpec): void {
  const path = spec.linux?.namespaces?.find(({ type }) => type === 'pid')?.path;
  if (path) joinNamespace(section, 'pid', path);
}

/** The monitor keeps none of the streams of the process that started it. */
export function releaseStreams(section: Section): void {
  const fd = section.room();
  section.call('openat', [AT_FDCWD, section.text('/dev/null'), OPEN.RDWR | O_CLOEXEC, 0], { into: fd });
  for (const target of [0, 1, 2]) section.call('dup3', [{ at: fd }, target, 0]);
  section.call('close', [{ at: fd }]);
}

/** Waits for the child by its signal; SIGUSR1 closes the input. The word is the wait status. */
export function waitForExit(section: Section, pid: DataRef, stdin: DataRef): DataRef {
  const status = section.room();
  const set = Buffer.alloc(SIGNAL_SET_SIZE);
  set.writeUInt32LE((1 << (SIGUSR1 - 1)) | (1 << (SIGCHLD - 1)));
  const [loop, reap, close] = [section.label(), section.label(), section.label()];
  section.place(loop);
  section.call('rt_sigtimedwait', [section.bytes(set), 0, 0, SIGNAL_SET_SIZE], {
    on: [
      [SIGCHLD, reap],
      [SIGUSR1, close],
    ],
    onError: loop,
  });
  section.place(close);
  closeAny(section, stdin);
  section.jump(loop);
  section.place(reap);
  section.step('wait');
  section.call('wait4', [{ at: pid }, status, WNOHANG, 0], { on: [[0, loop]] });
  return status;
}

/** Closes a descriptor that may be closed already. */
function closeAny(section: Section, fd: DataRef): void {
  const next = section.label();
  section.call('close', [{ at: fd }], { onError: next });
  section.place(next);
}
