import type { RootfsSource } from '../engine.ts';
import { AT_FDCWD, OPEN } from '../kernel-constants.ts';
import { type CgroupMounts, SLOT_FILES, type StoredFilter } from '../launch-bundle.ts';
import type { OciSpec } from '../oci-spec.ts';
import type { Machine } from '../seccomp/syscall-numbers.ts';
import { REPORT_FD } from './machine.ts';
import { buildMonitor, MASTER_FD, NAMESPACE_FD, writeEnd } from './monitor-program.ts';
import { CLONE_FLAGS, joinNamespace } from './namespaces.ts';
import {
  become,
  buildReport,
  joinCgroups,
  prepareStreams,
  REPORT,
  sendReport,
  setLimits,
  type WarnableCall,
  writeFile,
} from './process-program.ts';
import { type DataRef, type LinkedProgram, linkProgram, Section } from './program.ts';
import { RootfsProgram } from './rootfs-program.ts';
import { controlTerminal, openTerminalSlave, openTerminalTree } from './terminal-program.ts';

const O_CLOEXEC = 0o2000000;
const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 1;
/** Room for "HOME=..." that comes with the start; what a FIFO takes at once. */
export const HOME_SIZE = 4096;

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
  readonly seccomp: StoredFilter | undefined;
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
 * @throws Error for what cannot be expressed.
 */
export function buildContainerProgram(options: ContainerProgramOptions): ContainerProgram {
  const { spec, machine, directory } = options;
  const [monitor, child, last] = [new Section(), new Section(), new Section()];
  const terminal = spec.process?.terminal ? monitor.room() : undefined;
  const born = child.label();
  const pipe = monitor.room(2 * 8);
  buildMonitor(monitor, { spec, directory, terminal, born, pipe, forgotten: [child, last] });
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
