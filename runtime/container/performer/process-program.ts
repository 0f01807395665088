import { CAPABILITIES, capabilityMask } from '../capabilities.ts';
import { AT_FDCWD, OPEN } from '../kernel-constants.ts';
import type { StoredFilter } from '../launch-bundle.ts';
import type { OciProcess } from '../oci-spec.ts';
import { execute } from './execve-program.ts';
import { REPORT_FD } from './machine.ts';
import { closeOthers, gateOf } from './preserved-descriptors.ts';
import { type DataRef, failed, type Label, type Section, type Value } from './program.ts';
import { buildReport, REPORT, sendReport } from './report-program.ts';

const O_CLOEXEC = 0o2000000;
const SIG_SETMASK = 2;
/** Bytes of a kernel signal set. */
const SIGNAL_SET_SIZE = 8;
const PR = {
  SET_DUMPABLE: 4,
  SET_KEEPCAPS: 8,
  SET_NAME: 15,
  CAPBSET_DROP: 24,
  SET_NO_NEW_PRIVS: 38,
  CAP_AMBIENT: 47,
} as const;
const CAP_AMBIENT_RAISE = 2;
const CAPABILITY_VERSION_3 = 0x20080522;
const MAX_PATH = 4096;

/** Keeps others from reading or tracing this program until it is another one: CVE-2016-9962, CVE-2019-5736. */
export function hide(section: Section, name: string): void {
  section.step('hide the performer');
  section.call('prctl', [PR.SET_DUMPABLE, 0, 0, 0, 0]);
  section.call('prctl', [PR.SET_NAME, section.text(name), 0, 0, 0]);
}

/** Blocks every signal, or none. */
export function maskSignals(section: Section, isBlocked: boolean): void {
  const set = section.bytes(Buffer.alloc(SIGNAL_SET_SIZE, isBlocked ? 0xff : 0));
  section.step('set the signal mask');
  section.call('rt_sigprocmask', [SIG_SETMASK, set, 0, SIGNAL_SET_SIZE]);
}

/** Writes a file in one call. */
export function writeFile(section: Section, path: string, content: string, onError?: Label): void {
  const fd = section.room();
  const option = onError === undefined ? {} : { onError };
  const text = Buffer.from(content);
  section.call('openat', [AT_FDCWD, section.text(path), OPEN.WRONLY | O_CLOEXEC, 0], { into: fd, ...option });
  section.call('write', [{ at: fd }, section.bytes(text), text.length], option);
  section.call('close', [{ at: fd }]);
}

/** Moves this process into the container's cgroups. */
export function joinCgroups(section: Section, files: readonly string[]): void {
  for (const file of files) {
    section.step(`join cgroup "${file}"`);
    writeFile(section, file, '0');
  }
}

/** Opens /dev/null as standard input where none is wanted, and lets the user own the streams. */
export function prepareStreams(
  section: Section,
  options: { readonly hasStdin: boolean; readonly owned: readonly number[]; readonly uid: number },
): void {
  const { hasStdin, owned, uid } = options;
  section.step('standard streams');
  if (!hasStdin) {
    const fd = section.room();
    section.call('openat', [AT_FDCWD, section.text('/dev/null'), OPEN.RDONLY | O_CLOEXEC, 0], { into: fd });
    section.call('dup3', [{ at: fd }, 0, 0]);
  }
  // A non-root process reopens /dev/stdout by path, which asks for permission on the pipe.
  if (uid === 0) return;
  for (const fd of owned) section.call('fchown', [fd, uid, -1]);
}

export interface BecomeOptions {
  readonly process: OciProcess;
  readonly seccomp: StoredFilter | undefined;
  /** Memory for "HOME=...", which comes later; undefined when the environment has it. */
  readonly home: DataRef | undefined;
  /** How many descriptors beside the standard streams are kept. */
  readonly preserved?: number;
  /** Where the process waits until its listener was taken; needed when the filter has one. */
  readonly gate?: Value;
}

/**
 * Sets capabilities, groups, user, no_new_privs and the filter, in the order they allow, and becomes the program:
 *
 *     bounding set, groups, user; capabilities and CAP_SYS_ADMIN; descriptors; working directory;
 *     without no_new_privs: filter, capabilities       with it: capabilities, no_new_privs, filter
 *     execve(2)
 *
 * so that a filter need let through no more than capset, prctl, execve, write and exit_group.
 */
export function become(section: Section, options: BecomeOptions): void {
  const { process: process_, seccomp, home, preserved = 0 } = options;
  dropBounding(section, process_);
  setUser(section, process_);
  const isEarly = seccomp !== undefined && !process_.noNewPrivileges;
  setCapabilities(section, process_, isEarly ? ['CAP_SYS_ADMIN'] : []);
  if (seccomp?.hasListener) section.call('dup3', [options.gate ?? REPORT_FD, gateOf(preserved), O_CLOEXEC]);
  closeOthers(section, preserved, seccomp?.hasListener ?? false);
  enterWorkingDirectory(section, process_.cwd);
  section.step('umask');
  section.call('umask', [process_.user?.umask ?? 0o022]);
  maskSignals(section, false);
  if (isEarly) {
    installFilter(section, seccomp, preserved);
    setCapabilities(section, process_);
  }
  raiseAmbient(section, process_);
  if (process_.noNewPrivileges) {
    section.step('set no_new_privs');
    section.call('prctl', [PR.SET_NO_NEW_PRIVS, 1, 0, 0, 0]);
    if (seccomp !== undefined) installFilter(section, seccomp, preserved);
  }
  execute(section, process_, { home, preserved });
}

function dropBounding(section: Section, process_: OciProcess): void {
  const kept = capabilityMask(process_.capabilities?.bounding ?? []);
  for (const [bit, name] of CAPABILITIES.entries()) {
    if ((kept >> BigInt(bit)) & 1n) continue;
    const next = section.label();
    section.step(`drop ${name}`);
    // An older kernel does not know the newest capabilities.
    section.call('prctl', [PR.CAPBSET_DROP, bit, 0, 0, 0], { on: [[failed('EINVAL'), next]] });
    section.place(next);
  }
}

function setUser(section: Section, process_: OciProcess): void {
  const { uid, gid, additionalGids = [] } = process_.user ?? { uid: 0, gid: 0 };
  section.step('set groups');
  const list = Buffer.from(new Uint32Array(additionalGids).buffer);
  section.call('setgroups', [additionalGids.length, section.bytes(list)]);
  section.step(`set group ${gid}`);
  section.call('setresgid', [gid, gid, gid]);
  section.step('keep capabilities');
  section.call('prctl', [PR.SET_KEEPCAPS, 1, 0, 0, 0]);
  section.step(`set user ${uid}`);
  section.call('setresuid', [uid, uid, uid]);
  section.step('keep capabilities');
  section.call('prctl', [PR.SET_KEEPCAPS, 0, 0, 0, 0]);
}

/** capset(2), version 3: effective, permitted, inheritable, low words first. */
function setCapabilities(section: Section, process_: OciProcess, more: readonly string[] = []): void {
  const { effective = [], permitted = [], inheritable = [] } = process_.capabilities ?? {};
  const header = Buffer.alloc(8);
  header.writeUInt32LE(CAPABILITY_VERSION_3, 0);
  const data = Buffer.alloc(24);
  const sets = [[...effective, ...more], [...permitted, ...more], inheritable];
  for (const [index, names] of sets.entries()) {
    const mask = capabilityMask(names);
    data.writeUInt32LE(Number(mask & 0xffffffffn), index * 4);
    data.writeUInt32LE(Number(mask >> 32n), 12 + index * 4);
  }
  section.step('set capabilities');
  section.call('capset', [section.bytes(header), section.bytes(data)]);
}

function raiseAmbient(section: Section, process_: OciProcess): void {
  for (const name of process_.capabilities?.ambient ?? []) {
    const bit = (CAPABILITIES as readonly string[]).indexOf(name);
    if (bit < 0) continue;
    section.step(`raise ambient capability "${name}"`);
    // One that is not permitted and inheritable as well cannot be granted, which is no error: config.md, capabilities.
    const next = section.label();
    section.call('prctl', [PR.CAP_AMBIENT, CAP_AMBIENT_RAISE, bit, 0, 0], { on: [[failed('EPERM'), next]] });
    section.place(next);
  }
}

/**
 * chdir(2), which may only lead to a place inside: a working directory outside of the root is "(unreachable)/..." for
 * getcwd(2) (CVE-2024-21626, with "/proc/self/fd/N" as the directory).
 */
function enterWorkingDirectory(section: Section, cwd: string): void {
  const outside = section.label();
  const path = section.room(MAX_PATH);
  section.step(`chdir to cwd "${cwd}"`);
  section.call('chdir', [section.text(cwd)]);
  section.call('getcwd', [path, MAX_PATH]);
  section.compare(path, [[Buffer.from('(unr').readInt32LE(0), outside]]);
  section.later(() => {
    section.place(outside);
    section.step(`chdir to cwd "${cwd}": it is outside of the root file system`);
    section.fail('EPERM');
  });
}

function installFilter(
  section: Section,
  { flags, program, hasListener }: StoredFilter,
  preserved: number,
): void {
  const header = Buffer.alloc(16);
  header.writeUInt16LE(program.length / 8, 0);
  const data = section.bytes(header);
  section.point(data, 8, section.bytes(program));
  section.step('install the seccomp filter');
  const { data: report, value: listener } = buildReport(section, REPORT.listener);
  // SECCOMP_SET_MODE_FILTER
  section.call('seccomp', [1, flags, data], { into: listener });
  if (!hasListener) return;
  const gone = section.label();
  sendReport(section, REPORT_FD, report);
  section.step('wait until the listener was taken');
  section.call('read', [gateOf(preserved), section.room(), 1], { on: [[0, gone]] });
  section.later(() => {
    section.place(gone);
    section.call('exit_group', [0]);
  });
}
