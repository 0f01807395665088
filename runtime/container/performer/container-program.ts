import type { LaunchTraits, RootfsSource } from '../engine.ts';
import { AT_FDCWD, CLONE, OPEN } from '../kernel-constants.ts';
import { type CgroupMounts, SLOT_FILES, type StoredFilter } from '../launch-bundle.ts';
import type { OciNamespaceType, OciSpec } from '../oci-spec.ts';
import { usesListener } from '../seccomp/compile.ts';
import type { Machine } from '../seccomp/syscall-numbers.ts';
import { joinNewKeyring } from './keyring-program.ts';
import { setLimits, type WarnableCall } from './limits-program.ts';
import { REPORT_FD } from './machine.ts';
import { buildMonitor, buildStarter, MASTER_FD, NAMESPACE_FD } from './monitor-program.ts';
import { CLONE_FLAGS, hasOwnMounts, joinNamespace, needsMaker, openMountNamespace } from './namespaces.ts';
import { become, joinCgroups, prepareStreams, writeFile } from './process-program.ts';
import { type DataRef, type LinkedProgram, linkProgram, Section, type Value, writeEnd } from './program.ts';
import { buildReport, REPORT, sendReport, waitForRuntime } from './report-program.ts';
import { RootfsProgram } from './rootfs-program.ts';
import { controlTerminal, openTerminalSlave, openTerminalTree } from './terminal-program.ts';
import { setLabels, setPersonality, setScheduling } from './traits-program.ts';
import { becomeNamespaceRoot, openUserNamespace } from './user-namespace.ts';

const O_CLOEXEC = 0o2000000;
const SIGCHLD = 17;
const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 1;
/** Room for "HOME=..." that comes with the start; what a FIFO takes at once. */
const HOME_SIZE = 4096;

export interface ContainerProgramOptions {
  readonly machine: Machine;
  readonly spec: OciSpec;
  /** The container's directory, where the monitor works. */
  readonly directory: string;
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
  /** Who the container's user is outside of its user namespace. */
  readonly hostUid: number;
  readonly seccomp: StoredFilter | undefined;
  readonly traits?: LaunchTraits;
  /** The runtime has something to do before the root file system is entered: hooks. */
  readonly hasStage?: boolean;
}

export interface ContainerProgram extends LinkedProgram {
  readonly warnings: readonly WarnableCall[];
  /** Where the records begin that run after the start, for explainStart(). */
  readonly startAddress: number;
}

/**
 * The program of a container: its monitor, and the child that becomes the container.
 *
 *     monitor: goes to its directory, opens the FIFOs, clones, reports the child's pid; waits; writes "exit"; waits for "ack"
 *     child:   namespaces, cgroups, limits, root file system; reports that it is ready; waits for "start"; execve(2)
 *
 * With a user or time namespace the child is two processes: a maker with the host's rights, and the container.
 *
 * @throws Error for what cannot be expressed.
 */
export function buildContainerProgram(options: ContainerProgramOptions): ContainerProgram {
  const { spec, machine, directory } = options;
  const [monitor, child, last] = [new Section(), new Section(), new Section()];
  const terminal = spec.process?.terminal ? monitor.room() : undefined;
  const born = child.label();
  const pipe = monitor.room(2 * 8);
  const { reaper, consoleSocket, preserved } = options.traits ?? {};
  if (reaper === 'caller')
    buildStarter(monitor, { spec, directory, terminal, born, pipe, preserved, consoleSocket });
  else buildMonitor(monitor, { spec, directory, terminal, born, pipe, preserved, forgotten: [child, last] });
  child.place(born);
  const { warnings, home, gate } = buildChild(child, options, { terminal, pipe });
  const gone = last.label();
  child.jump(gone);
  last.place(gone);
  become(last, {
    process: spec.process!,
    seccomp: options.seccomp,
    home,
    preserved: preserved?.fds.length ?? 0,
    gate,
  });
  const program = linkProgram([monitor, child, last], machine);
  return { ...program, warnings, startAddress: program.start(last) };
}

/** The text of a failure after the start; the records are built anew, as an engine of another process needs it. */
export function explainStart(
  spec: OciSpec,
  preserved: number,
  failure: { readonly index: number; readonly result: number },
): string {
  const section = new Section();
  const { seccomp } = spec.linux ?? {};
  const hasListener = seccomp !== undefined && usesListener(seccomp);
  const filter = seccomp && { flags: 0, program: Buffer.alloc(0), hasListener };
  become(section, { process: spec.process!, seccomp: filter, home: undefined, preserved });
  section.close();
  return section.explain(failure.index, failure.result) ?? `record ${failure.index}`;
}

interface BuiltChild {
  readonly warnings: readonly WarnableCall[];
  readonly home: DataRef | undefined;
  /** The FIFO of the start. */
  readonly gate: Value;
}

function buildChild(
  section: Section,
  options: ContainerProgramOptions,
  { terminal, pipe }: { readonly terminal: DataRef | undefined; readonly pipe: DataRef },
): BuiltChild {
  const { spec, inheritStreams } = options;
  const process_ = spec.process!;
  // Modes are meant as they are written; become() sets the program's own mask.
  section.call('umask', [0]);
  const gate = openGate(section);
  if (terminal === undefined && !inheritStreams) openStreams(section);
  const slave =
    terminal === undefined
      ? undefined
      : openTerminalSlave(section, MASTER_FD, { process: process_, uid: options.hostUid });
  const terminalTree = slave === undefined ? undefined : openTerminalTree(section, slave);
  const user = openUserNamespace(section, spec);
  const rootfs = new RootfsProgram(section, { ...options, terminalTree }, user);
  rootfs.openHostTrees();
  const sharedMounts = hasOwnMounts(spec) ? undefined : openMountNamespace(section, spec);
  joinNamespaces(section, spec);
  joinCgroups(section, options.cgroupJoinFiles);
  const warnings = setLimits(section, process_);
  if (terminal === undefined) {
    prepareStreams(section, {
      hasStdin: options.stdin || inheritStreams,
      owned: options.ownedStreams,
      uid: options.hostUid,
    });
  }
  if (needsMaker(spec)) makeContainer(section, { spec, rootfs, user, pipe });
  enterOwnNamespaces(section, { spec, rootfs, user });
  if (!options.traits?.keepsKeyring) joinNewKeyring(section);
  setScheduling(section, process_);
  setPersonality(section, spec);
  setLabels(section, process_);
  for (const [name, value] of Object.entries(spec.linux?.sysctl ?? {})) writeSysctl(section, name, value);
  rootfs.build();
  if (options.hasStage) waitForRuntime(section, REPORT.stage);
  if (sharedMounts === undefined) rootfs.enter(options.traits?.hasNoPivot ?? false);
  else rootfs.enterFrom(sharedMounts);
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
  return { warnings, home: hasHome ? undefined : payload, gate: { at: gate.start } };
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

function joinNamespaces(section: Section, spec: OciSpec): void {
  const elsewhere = ['mount', ...(needsMaker(spec) ? ['user'] : ['user', 'pid'])];
  for (const { type, path } of spec.linux?.namespaces ?? []) {
    if (path && !elsewhere.includes(type)) joinNamespace(section, type, path);
  }
}

interface Making {
  readonly spec: OciSpec;
  readonly rootfs: RootfsProgram;
  readonly user: DataRef | undefined;
  readonly pipe: DataRef;
}

/**
 * The maker's part: what the host's root alone may do is done, it enters the user namespace and makes the container,
 * its sibling, who goes on behind this; it tells the monitor the pid and ends.
 */
function makeContainer(section: Section, { spec, rootfs, user, pipe }: Making): void {
  const namespaces = spec.linux?.namespaces ?? [];
  const container = section.label();
  const pid = section.room();
  if (user !== undefined) {
    section.step('unshare mount');
    section.call('unshare', [CLONE.NEWNS]);
    rootfs.openSource();
    section.step('join the user namespace');
    section.call('setns', [{ at: user }, CLONE.NEWUSER]);
    section.call('close', [{ at: user }]);
  }
  if (namespaces.some(({ type, path }) => type === 'time' && !path)) makeTimeNamespace(section, spec);
  const isNew = namespaces.some(({ type, path }) => type === 'pid' && !path);
  section.step('clone');
  const flags = SIGCHLD | CLONE.PARENT | (isNew ? CLONE.NEWPID : 0);
  section.call('clone', [flags, 0, 0, 0, 0], { into: pid, on: [[0, container]] });
  section.call('write', [{ at: writeEnd(pipe) }, pid, 8]);
  section.call('exit_group', [0]);
  section.place(container);
}

/** A time namespace is entered by the next child; its clocks are set before, time_namespaces(7). */
function makeTimeNamespace(section: Section, { linux }: OciSpec): void {
  section.step('unshare time');
  section.call('unshare', [CLONE.NEWTIME]);
  for (const [clock, { secs = 0, nanosecs = 0 }] of Object.entries(linux?.timeOffsets ?? {})) {
    section.step(`time offset of "${clock}"`);
    writeFile(section, '/proc/self/timens_offsets', `${clock} ${secs} ${nanosecs}\n`);
  }
}

/**
 * What the container does not share with anybody; the user and time namespaces are its maker's work. Root of a user
 * namespace may not reach the staging directory, and what other namespaces bring with them (mqueue) is to be root's.
 */
function enterOwnNamespaces(section: Section, { spec, rootfs, user }: Omit<Making, 'pipe'>): void {
  const elsewhere: readonly OciNamespaceType[] = ['pid', 'user', 'time', 'mount'];
  const others = (spec.linux?.namespaces ?? [])
    .filter(({ type, path }) => !path && !elsewhere.includes(type))
    .map(({ type }) => type);
  // The root file system is built in a mount namespace of its own in any case.
  const fresh: readonly OciNamespaceType[] = ['mount', ...others];
  const early = user === undefined ? fresh : fresh.filter((type) => type === 'mount');
  unshare(section, early);
  const fd = section.room();
  const path = section.text('/proc/self/ns/mnt');
  section.call('openat', [AT_FDCWD, path, OPEN.RDONLY | O_CLOEXEC, 0], { into: fd });
  section.call('dup3', [{ at: fd }, NAMESPACE_FD, O_CLOEXEC]);
  section.call('close', [{ at: fd }]);
  rootfs.openRoot();
  if (user !== undefined) {
    becomeNamespaceRoot(section);
    const late = fresh.filter((type) => !early.includes(type));
    unshare(section, late);
  }
  if (fresh.includes('network')) raiseLoopback(section);
}

function unshare(section: Section, types: readonly OciNamespaceType[]): void {
  section.step(`unshare ${types.join(', ')}`);
  section.call('unshare', [types.reduce((flags, type) => flags | CLONE_FLAGS[type], 0)]);
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
