import { buildCpuSet, parseCpuList } from '../cpu-list.ts';
import { hasAppArmor } from '../labels.ts';
import type { OciProcess, OciSpec } from '../oci-spec.ts';
import { writeFile } from './process-program.ts';
import type { Section } from './program.ts';

/** `struct sched_attr`, sched_setattr(2) */
const SCHED_ATTR_SIZE = 48;
const POLICIES: Readonly<Record<string, number>> = {
  SCHED_OTHER: 0,
  SCHED_FIFO: 1,
  SCHED_RR: 2,
  SCHED_BATCH: 3,
  SCHED_IDLE: 5,
  SCHED_DEADLINE: 6,
};
const POLICY_FLAGS: Readonly<Record<string, number>> = {
  SCHED_FLAG_RESET_ON_FORK: 1,
  SCHED_FLAG_RECLAIM: 2,
  SCHED_FLAG_DL_OVERRUN: 4,
  SCHED_FLAG_KEEP_POLICY: 8,
  SCHED_FLAG_KEEP_PARAMS: 0x10,
  SCHED_FLAG_UTIL_CLAMP_MIN: 0x20,
  SCHED_FLAG_UTIL_CLAMP_MAX: 0x40,
};
/** ioprio_set(2) */
const IOPRIO_WHO_PROCESS = 1;
const IOPRIO_CLASS_SHIFT = 13;
const IO_CLASSES: Readonly<Record<string, number>> = {
  IOPRIO_CLASS_RT: 1,
  IOPRIO_CLASS_BE: 2,
  IOPRIO_CLASS_IDLE: 3,
};
/** personality(2) */
const DOMAINS = { LINUX: 0, LINUX32: 8 } as const;

/** The value of a name; @throws Error naming the field. */
function lookUp(table: Readonly<Record<string, number>>, name: string, field: string): number {
  const value = table[name];
  if (value === undefined) throw new Error(`${field} "${name}": not known`);
  return value;
}

/** Scheduling of the CPU and of block IO. @throws Error for names that are not known */
export function setScheduling(section: Section, { scheduler, ioPriority }: OciProcess): void {
  if (scheduler !== undefined) {
    const attributes = Buffer.alloc(SCHED_ATTR_SIZE);
    const { policy, flags = [], nice = 0, priority = 0, runtime = 0, deadline = 0, period = 0 } = scheduler;
    const bits = flags.reduce((all, name) => all | lookUp(POLICY_FLAGS, name, 'process.scheduler.flags'), 0);
    attributes.writeUInt32LE(SCHED_ATTR_SIZE, 0);
    attributes.writeUInt32LE(lookUp(POLICIES, policy, 'process.scheduler.policy'), 4);
    attributes.writeUInt32LE(bits, 8);
    attributes.writeInt32LE(nice, 16);
    attributes.writeUInt32LE(priority, 20);
    for (const [index, value] of [runtime, deadline, period].entries()) {
      attributes.writeBigUInt64LE(BigInt(value), 24 + 8 * index);
    }
    section.step('process.scheduler');
    section.call('sched_setattr', [0, section.bytes(attributes), 0]);
  }
  if (ioPriority === undefined) return;
  const ioClass = lookUp(IO_CLASSES, ioPriority.class, 'process.ioPriority.class');
  section.step('process.ioPriority');
  section.call('ioprio_set', [IOPRIO_WHO_PROCESS, 0, (ioClass << IOPRIO_CLASS_SHIFT) | ioPriority.priority]);
}

/** The CPUs of a list, if there is one (sched_setaffinity(2)); `field` is what an error names. */
export function setAffinity(section: Section, list: string | undefined, field: string): void {
  if (list === undefined) return;
  const cpus = parseCpuList(list);
  if (cpus === undefined) throw new Error(`${field} "${list}": no list of CPUs`);
  const set = buildCpuSet(cpus);
  section.step(`${field} "${list}"`);
  section.call('sched_setaffinity', [0, set.length, section.bytes(set)]);
}

/** What uname(2) tells, and the like. @throws Error for flags, which the specification has none of */
export function setPersonality(section: Section, { linux }: OciSpec): void {
  if (linux?.personality === undefined) return;
  const { domain, flags = [] } = linux.personality;
  if (flags.length > 0) throw new Error(`linux.personality.flags "${flags[0]}": not known`);
  section.step('linux.personality');
  section.call('personality', [DOMAINS[domain]]);
}

/** The labels that the next execve(2) gives; written where /proc is still the host's (CVE-2025-52881). */
export function setLabels(section: Section, { apparmorProfile, selinuxLabel }: OciProcess): void {
  if (apparmorProfile && hasAppArmor()) {
    section.step(`process.apparmorProfile "${apparmorProfile}"`);
    writeFile(section, '/proc/thread-self/attr/apparmor/exec', `exec ${apparmorProfile}`);
  }
  if (!selinuxLabel) return;
  section.step(`process.selinuxLabel "${selinuxLabel}"`);
  writeFile(section, '/proc/thread-self/attr/exec', selinuxLabel);
}
