import type { RootfsSource } from '../engine.ts';
import { AT_FDCWD, CLONE, OPEN } from '../kernel-constants.ts';
import { type CgroupMounts, SLOT_FILES, type StoredFilter } from '../launch-bundle.ts';
import type { OciNamespaceType, OciSpec } from '../oci-spec.ts';
import type { Machine } from '../seccomp/syscall-numbers.ts';
import { REPORT_FD } from './machine.ts';
import {
  become,
  buildReport,
  hide,
  joinCgroups,
  maskSignals,
  prepareStreams,
  REPORT,
  sendReport,
  setLimits,
  type WarnableCall,
  writeFile,
} from './process-program.ts';
import { type DataRef, type Label, type LinkedProgram, linkProgram, Section } from './program.ts';
import { RootfsProgram } from './rootfs-program.ts';
import {
  controlTerminal,
  openTerminalMaster,
  openTerminalSlave,
  openTerminalTree,
} from './terminal-program.ts';

const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const SIGUSR1 = 10;
const SIGCHLD = 17;
const SIGNAL_SET_SIZE = 8;
const WNOHANG = 1;
const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 1;
/** The descriptor under which the monitor holds the pseudo-terminal's master. */
export const MASTER_FD = 64;
/** The descriptor under which the child offers its mount namespace to the monitor. */
const NAMESPACE_FD = 65;
/** Room for "HOME=..." that comes with the start; what a FIFO takes at once. */
export const HOME_SIZE = 4096;

const CLONE_FLAGS: Readonly<Record<OciNamespaceType, number>> = {
  mount: CLONE.NEWNS,
  network: CLONE.NEWNET,
  ipc: CLONE.NEWIPC,
  uts: CLONE.NEWUTS,
  cgroup: CLONE.NEWCGROUP,
  pid: CLONE.NEWPID,
  user: 0,
  time: 0,
};

export interface ContainerProgramOptions {
  readonly machine: Machine;
  readonly spec: OciSpec;
  readonly rootfs: RootfsSource;
  readonly stagingDir: string;
  /** Files to write "0" to, which moves the process into the container's cgroups. */
  readonly cgroupJoinFiles: readonly string[];
  readonly cgroupMounts: CgroupMounts;
  readonly directories: ReadonlySet<string>;
  readonly stdin: boolean;
  readonly inheritStreams: boolean;
  /** Those of descriptors 0 to 2 that the container's user is to own. */
  readonly ownedStreams: readonly number[];
  readonly seccomp: StoredFilter | undefined;
}

export interface ContainerProgram extends LinkedProgram {
  readonly warnings: readonly WarnableCall[];
  /** Where the records begin that run after the start, for explainStart(). */
  readonly startAddress: number;
}

/**
 * The program of a container: its monitor, and the child that becomes the container. Runs in the slot's directory.
 *
 *     monitor: opens the FIFOs, clones, reports the child's pid; waits; writes "exit"; waits for "ack"
 *     child:   namespaces, cgroups, limits, root file system; reports that it is ready; waits for "start"; execve(2)
 *
 * @throws Error for what cannot be expressed.
 */
export function buildContainerProgram(options: ContainerProgramOptions): ContainerProgram {
  const { spec, machine } = options;
  const [monitor, child, last] = [new Section(), new Section(), new Section()];
  const terminal = spec.process?.terminal ? monitor.room() : undefined;
  const born = child.label();
  const pipe = monitor.room(2 * 8);
  buildMonitor(monitor, { options, terminal, born, pipe, forgotten: [child, last] });
  child.place(born);
  const { warnings, home } = buildChild(child, options, { terminal, pipe });
  const gone = last.label();
  child.jump(gone);
  last.place(gone);
  become(last, { process: spec.process!, seccomp: options.seccomp, home });
  const program = linkProgram([monitor, child, last], machine);
  return { ...program, warnings, startAddress: program.start(last) };
}

/** The text of a failure after the start; the records are built anew, as an engine of another process needs it. */
export function explainStart(
  spec: OciSpec,
  failure: { readonly index: number; readonly result: number },
): string {
  const section = new Section();
  const filter = spec.linux?.seccomp === undefined ? undefined : { flags: 0, program: Buffer.alloc(0) };
  become(section, { process: spec.process!, seccomp: filter, home: undefined });
  section.close();
  return section.explain(failure.index, failure.result) ?? `record ${failure.index}`;
}

interface MonitorOptions {
  readonly options: ContainerProgramOptions;
  readonly terminal: DataRef | undefined;
  readonly born: Label;
  /** Through it the child tells that its namespace is there. */
  readonly pipe: DataRef;
  readonly forgotten: readonly Section[];
}

function buildMonitor(section: Section, monitorOptions: MonitorOptions): void {
  const { options, terminal, born, pipe, forgotten } = monitorOptions;
  hide(section, 'tkadm-monitor');
  maskSignals(section, true);
  const [stdin, stdout, stderr] = holdStreams(section);
  if (terminal !== undefined) openMaster(section, terminal);
  const pid = buildReport(section, REPORT.pid);
  enterPidNamespace(section, options.spec);
  const isNew = (options.spec.linux?.namespaces ?? []).some(({ type, path }) => type === 'pid' && !path);
  const pidfd = section.room();
  section.step('clone');
  section.call('pipe2', [pipe, O_CLOEXEC]);
  section.call('clone', [SIGCHLD | CLONE.PIDFD | (isNew ? CLONE.NEWPID : 0), 0, pidfd, 0, 0], {
    into: pid.value,
    on: [[0, born]],
  });
  sendReport(section, REPORT_FD, pid.data);
  section.call('close', [REPORT_FD]);
  releaseStreams(section);
  for (const one of forgotten) section.forget(one);
  const namespace = holdNamespace(section, pidfd, pipe);
  const status = waitForExit(section, pid.value, stdin);
  const end = section.label();
  section.call('faccessat', [AT_FDCWD, section.text(SLOT_FILES.state), 0], { onError: end });
  for (const fd of [stdin, stdout, stderr]) closeAny(section, fd);
  const file = section.room();
  section.step('write the exit code');
  const flags = OPEN.CREAT | OPEN.WRONLY | OPEN.TRUNC | O_CLOEXEC;
  section.call('openat', [AT_FDCWD, section.text(SLOT_FILES.exit), flags, 0o600], { into: file });
  section.call('write', [{ at: file }, status, 4]);
  section.call('close', [{ at: file }]);
  closeAny(section, namespace);
  const ack = section.room();
  const readOnly = OPEN.RDONLY | O_CLOEXEC;
  section.call('openat', [AT_FDCWD, section.text(SLOT_FILES.ack), readOnly, 0], { into: ack, onError: end });
  section.call('read', [{ at: ack }, section.room(), 1], { onError: end });
  section.place(end);
  section.call('exit_group', [0]);
}

/**
 * Takes the child's mount namespace when the child has made it. The kernel takes a namespace down within the exit of
 * the last process that has it and tells of the exit thereafter, milliseconds later: so it must not be the last.
 */
function holdNamespace(section: Section, pidfd: DataRef, pipe: DataRef): DataRef {
  const namespace = section.room();
  const next = section.label();
  closeAny(section, writeEnd(pipe));
  section.call('read', [{ at: pipe }, section.room(), 1], { onError: next });
  section.call('pidfd_getfd', [{ at: pidfd }, NAMESPACE_FD, 0], { into: namespace, onError: next });
  section.place(next);
  return namespace;
}

/** The second descriptor of pipe2(2), which are 32 bits each. */
function writeEnd({ section, offset }: DataRef): DataRef {
  return { section, offset: offset + 4 };
}

/**
 * Holds both ends of the output's FIFOs, so that nothing is lost while no engine runs, and the write end of the input's
 * until SIGUSR1.
 */
function holdStreams(section: Section): readonly [DataRef, DataRef, DataRef] {
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

function joinNamespace(section: Section, type: OciNamespaceType, path: string): void {
  const fd = section.room();
  section.step(`join ${type} namespace "${path}"`);
  section.call('openat', [AT_FDCWD, section.text(path), OPEN.RDONLY | O_CLOEXEC, 0], { into: fd });
  section.call('setns', [{ at: fd }, CLONE_FLAGS[type]]);
  section.call('close', [{ at: fd }]);
}

/** The monitor keeps none of the streams of the process that started it. */
function releaseStreams(section: Section): void {
  const fd = section.room();
  section.call('openat', [AT_FDCWD, section.text('/dev/null'), OPEN.RDWR | O_CLOEXEC, 0], { into: fd });
  for (const target of [0, 1, 2]) section.call('dup3', [{ at: fd }, target, 0]);
  section.call('close', [{ at: fd }]);
}

/** Waits for the child by its signal; SIGUSR1 closes the input. The word is the wait status. */
function waitForExit(section: Section, pid: DataRef, stdin: DataRef): DataRef {
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

function buildChild(
  section: Section,
  options: ContainerProgramOptions,
  { terminal, pipe }: { readonly terminal: DataRef | undefined; readonly pipe: DataRef },
): { readonly warnings: readonly WarnableCall[]; readonly home: DataRef | undefined } {
  const { spec, inheritStreams } = options;
  const process_ = spec.process!;
  // Modes are meant as they are written; become() sets the program's own mask.
  section.call('umask', [0]);
  const gate = openGate(section);
  if (terminal === undefined && !inheritStreams) openStreams(section);
  const slave = terminal === undefined ? undefined : openTerminalSlave(section, MASTER_FD, process_);
  const terminalTree = slave === undefined ? undefined : openTerminalTree(section, slave);
  const rootfs = new RootfsProgram(section, { ...options, terminalTree });
  rootfs.openSharedBinds();
  enterNamespaces(section, options);
  const warnings = setLimits(section, process_);
  for (const [name, value] of Object.entries(spec.linux?.sysctl ?? {})) writeSysctl(section, name, value);
  if (terminal === undefined) {
    prepareStreams(section, {
      hasStdin: options.stdin || inheritStreams,
      owned: options.ownedStreams,
      uid: process_.user?.uid ?? 0,
    });
  }
  rootfs.build();
  setNames(section, spec);
  section.step('setsid');
  if (slave === undefined) section.call('setsid', []);
  else controlTerminal(section, slave);
  section.call('write', [{ at: writeEnd(pipe) }, section.text('1'), 1]);
  const ready = buildReport(section, REPORT.ready);
  sendReport(section, REPORT_FD, ready.data);
  section.step('wait for the start');
  section.call('dup3', [{ at: gate.result }, REPORT_FD, O_CLOEXEC]);
  const hasHome = (process_.env ?? []).some((entry) => entry.startsWith('HOME='));
  const payload = section.room(HOME_SIZE);
  section.call('read', [{ at: gate.start }, payload, HOME_SIZE - 1]);
  return { warnings, home: hasHome ? undefined : payload };
}

/** The FIFOs of the start: one that is read, and one whose end tells of execve(2). */
function openGate(section: Section): { readonly start: DataRef; readonly result: DataRef } {
  const [start, both, result] = [section.room(), section.room(), section.room()];
  const open = (name: string, flags: number, into: DataRef) =>
    section.call('openat', [AT_FDCWD, section.text(name), flags | O_CLOEXEC, 0], { into });
  section.step('open FIFOs');
  open(SLOT_FILES.start, OPEN.RDWR, start);
  open(SLOT_FILES.result, OPEN.RDWR, both);
  open(SLOT_FILES.result, OPEN.WRONLY, result);
  section.call('close', [{ at: both }]);
  return { start, result };
}

function openStreams(section: Section): void {
  const rows = [
    [SLOT_FILES.stdin, OPEN.RDONLY],
    [SLOT_FILES.stdout, OPEN.WRONLY],
    [SLOT_FILES.stderr, OPEN.WRONLY],
  ] as const;
  for (const [target, [name, flags]] of rows.entries()) {
    const fd = section.room();
    section.call('openat', [AT_FDCWD, section.text(name), flags | O_CLOEXEC, 0], { into: fd });
    section.call('dup3', [{ at: fd }, target, 0]);
    section.call('close', [{ at: fd }]);
  }
}

function enterNamespaces(section: Section, { spec, cgroupJoinFiles }: ContainerProgramOptions): void {
  const namespaces = spec.linux?.namespaces ?? [];
  for (const { type, path } of namespaces) {
    if (path && type !== 'pid' && type !== 'cgroup') joinNamespace(section, type, path);
  }
  joinCgroups(section, cgroupJoinFiles);
  const fresh = namespaces.filter(({ type, path }) => type !== 'pid' && !path);
  section.step(`unshare ${fresh.map(({ type }) => type).join(', ')}`);
  section.call('unshare', [fresh.reduce((flags, { type }) => flags | CLONE_FLAGS[type], 0)]);
  const fd = section.room();
  const path = section.text('/proc/self/ns/mnt');
  section.call('openat', [AT_FDCWD, path, OPEN.RDONLY | O_CLOEXEC, 0], { into: fd });
  section.call('dup3', [{ at: fd }, NAMESPACE_FD, O_CLOEXEC]);
  section.call('close', [{ at: fd }]);
  if (fresh.some(({ type }) => type === 'network')) raiseLoopback(section);
}

/** Sets the interface "lo" of this network namespace up (netdevice(7)). */
function raiseLoopback(section: Section): void {
  const request = Buffer.alloc(40);
  request.write('lo');
  request.writeInt16LE(IFF_UP, 16);
  const fd = section.room();
  section.step('raise "lo"');
  // AF_INET, SOCK_DGRAM | SOCK_CLOEXEC
  section.call('socket', [2, 2 | O_CLOEXEC, 0], { into: fd });
  section.call('ioctl', [{ at: fd }, SIOCSIFFLAGS, section.bytes(request)]);
  section.call('close', [{ at: fd }]);
}

/** Writes a kernel parameter, "net.ipv4.ip_forward" or "net/ipv4/conf/eth0.1/forwarding". */
function writeSysctl(section: Section, name: string, value: string): void {
  const path = name.includes('/') ? name : name.replaceAll('.', '/');
  if (path.split('/').includes('..')) throw new Error(`sysctl "${name}": not a parameter`);
  section.step(`sysctl "${name}"`);
  writeFile(section, `/proc/sys/${path}`, value);
}

function setNames(section: Section, { hostname, domainname }: OciSpec): void {
  for (const [call, name] of [
    ['sethostname', hostname],
    ['setdomainname', domainname],
  ] as const) {
    if (!name) continue;
    section.step(`${call} "${name}"`);
    section.call(call, [section.text(name), Buffer.byteLength(name)]);
  }
}
