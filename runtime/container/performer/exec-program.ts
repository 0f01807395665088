import type { LaunchTraits } from '../engine.ts';
import { AT_FDCWD, CLONE } from '../kernel-constants.ts';
import type { StoredFilter } from '../launch-bundle.ts';
import type { OciProcess } from '../oci-spec.ts';
import type { Machine } from '../seccomp/syscall-numbers.ts';
import { joinNewKeyring } from './keyring-program.ts';
import { setLimits } from './limits-program.ts';
import { REPORT_FD } from './machine.ts';
import { dropDescriptors, takeDescriptors } from './preserved-descriptors.ts';
import { become, hide, joinCgroups, maskSignals, prepareStreams } from './process-program.ts';
import { type DataRef, type LinkedProgram, linkProgram, Section } from './program.ts';
import { buildReport, REPORT, sendReport } from './report-program.ts';
import { changeRoot } from './rootfs-program.ts';
import { connectSocket, sendTerminal } from './socket-program.ts';
import { controlTerminal, openTerminalMaster, openTerminalSlave } from './terminal-program.ts';
import { setAffinity, setLabels, setScheduling } from './traits-program.ts';
import { becomeNamespaceRoot } from './user-namespace.ts';

const O_CLOEXEC = 0o2000000;
const O_PATH = 0o10000000;
const SIGCHLD = 17;
/** fcntl(2) */
const F_SETFD = 2;
const FD_CLOEXEC = 1;
/** The descriptor on which the parent reports the child's pid and its end. */
const EXEC_CONTROL_FD = 5;
/** The namespaces of a container; that of pids is entered by being born in it. */
const NAMESPACES = CLONE.NEWNS | CLONE.NEWNET | CLONE.NEWIPC | CLONE.NEWUTS | CLONE.NEWCGROUP | CLONE.NEWTIME;

export interface ExecProgramOptions {
  readonly machine: Machine;
  /** Host pid whose namespaces are joined. */
  readonly pid: number;
  readonly process: OciProcess;
  /** The container has one; to join one's own is an error. */
  readonly hasUserNamespace: boolean;
  /** See hasOwnMounts(); without, the root is that of the process, not of its mount namespace. */
  readonly hasOwnMounts: boolean;
  /** Who the process's user is outside of it. */
  readonly hostUid: number;
  readonly cgroupJoinFiles: readonly string[];
  readonly stdin: boolean;
  readonly seccomp: StoredFilter | undefined;
  /** The streams are those of the process that asks, and stay as they are. */
  readonly inheritStreams?: boolean;
  readonly traits?: LaunchTraits;
}

/**
 * The program of one more process in a container: a parent that stays outside and waits, and the child that is born in
 * the container's pid namespace, joins the others and becomes the program. Descriptor 3 ends with execve(2).
 */
export function buildExecProgram(options: ExecProgramOptions): LinkedProgram {
  const [parent, child] = [new Section(), new Section()];
  const { process, hasUserNamespace, hostUid, inheritStreams = false, traits = {} } = options;
  const preserved = traits.preserved ?? { pid: 0, fds: [] };
  const pidfd = parent.room();
  const pid = buildReport(parent, REPORT.pid);
  const born = child.label();
  hide(parent, 'tkadm-exec');
  maskSignals(parent, true);
  takeDescriptors(parent, preserved);
  parent.step(`open process ${options.pid}`);
  parent.call('pidfd_open', [options.pid, 0], { into: pidfd });
  parent.step(`join the pid namespace of process ${options.pid}`);
  parent.call('setns', [{ at: pidfd }, CLONE.NEWPID]);
  parent.step('clone');
  parent.call('clone', [SIGCHLD, 0, 0, 0, 0], { into: pid.value, on: [[0, born]] });
  sendReport(parent, EXEC_CONTROL_FD, pid.data);
  if (traits.reaper === 'caller') parent.call('exit_group', [0]);
  parent.call('close_range', [0, REPORT_FD, 0]);
  dropDescriptors(parent, preserved);
  const exit = buildReport(parent, REPORT.exit);
  parent.forget(child);
  parent.call('wait4', [{ at: pid.value }, exit.value, 0, 0]);
  sendReport(parent, EXEC_CONTROL_FD, exit.data);
  parent.call('exit_group', [0]);

  child.place(born);
  child.step('close on exec');
  child.call('fcntl', [REPORT_FD, F_SETFD, FD_CLOEXEC]);
  const { initial, final } = process.execCPUAffinity ?? {};
  setAffinity(child, initial, 'process.execCPUAffinity.initial');
  joinCgroups(child, options.cgroupJoinFiles);
  setAffinity(child, final, 'process.execCPUAffinity.final');
  setLimits(child, process);
  const console = traits.consoleSocket === undefined ? undefined : connectSocket(child, traits.consoleSocket);
  if (!process.terminal && !inheritStreams) {
    const owned = options.stdin ? [0, 1, 2] : [1, 2];
    prepareStreams(child, { hasStdin: options.stdin, owned, uid: hostUid });
  }
  setScheduling(child, process);
  setLabels(child, process);
  const root = options.hasOwnMounts ? undefined : openRoot(child, options.pid);
  child.step(`join the namespaces of process ${options.pid}`);
  child.call('setns', [{ at: pidfd }, NAMESPACES | (hasUserNamespace ? CLONE.NEWUSER : 0)]);
  if (root !== undefined) changeRoot(child, root);
  if (hasUserNamespace) becomeNamespaceRoot(child);
  if (!traits.keepsKeyring) joinNewKeyring(child);
  if (process.terminal) openTerminal(child, process, console);
  else child.call('setsid', []);
  become(child, { process, seccomp: options.seccomp, home: undefined, preserved: preserved.fds.length });
  return linkProgram([parent, child], options.machine);
}

/** The pid is still that of the process when its namespaces are joined by its descriptor thereafter. */
function openRoot(section: Section, pid: number): DataRef {
  const root = section.room();
  section.step(`open the root of process ${pid}`);
  section.call('openat', [AT_FDCWD, section.text(`/proc/${pid}/root`), O_PATH | O_CLOEXEC, 0], {
    into: root,
  });
  return root;
}

/**
 * A pseudo-terminal of the container's own devpts, whose master goes to the console socket, or is taken by the engine
 * before it lets the program go on.
 */
function openTerminal(section: Section, process: OciProcess, console: DataRef | undefined): void {
  const master = buildReport(section, REPORT.terminal);
  openTerminalMaster(section, '/dev/ptmx', master.value);
  const slave = openTerminalSlave(section, { at: master.value }, { process, uid: process.user?.uid ?? 0 });
  if (console === undefined) offerMaster(section, master.data);
  else sendTerminal(section, console, { at: master.value });
  controlTerminal(section, slave);
}

function offerMaster(section: Section, report: DataRef): void {
  sendReport(section, REPORT_FD, report);
  const engineGone = section.label();
  section.call('read', [REPORT_FD, section.room(), 1], { on: [[0, engineGone]] });
  section.later(() => {
    section.place(engineGone);
    section.call('exit_group', [0]);
  });
}
