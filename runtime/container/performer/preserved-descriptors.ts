import { REPORT_FD } from './machine.ts';
import type { Section } from './program.ts';

const O_CLOEXEC = 0o2000000;
/** Where descriptors wait, out of the way of those that the program of a container opens. */
const FIRST_KEPT = 128;
/** Where the descriptor of reports waits while the container's own has its number. */
const KEPT_REPORT = FIRST_KEPT - 1;
const CLOSE_RANGE_CLOEXEC = 4;
const LAST = 0xffffffff;

/** Descriptors of another process that a program is to have as 3, 4 and so on. */
export interface PreservedDescriptors {
  readonly pid: number;
  readonly fds: readonly number[];
}

/** Takes the descriptors from the process that has them; where pids are the host's, before any child is born. */
export function takeDescriptors(section: Section, { pid, fds }: PreservedDescriptors): void {
  if (fds.length === 0) return;
  const pidfd = section.room();
  section.step(`open process ${pid}`);
  section.call('pidfd_open', [pid, 0], { into: pidfd });
  for (const [index, fd] of fds.entries()) {
    const taken = section.room();
    section.step(`take descriptor ${fd} of process ${pid}`);
    section.call('pidfd_getfd', [{ at: pidfd }, fd, 0], { into: taken });
    section.call('dup3', [{ at: taken }, FIRST_KEPT + index, 0]);
    section.call('close', [{ at: taken }]);
  }
  section.call('close', [{ at: pidfd }]);
}

/** Closes what was taken for a child, which has it. */
export function dropDescriptors(section: Section, { fds }: PreservedDescriptors): void {
  if (fds.length > 0) section.call('close_range', [FIRST_KEPT, FIRST_KEPT + fds.length - 1, 0]);
}

/** Where a process waits once more before it becomes its program, behind `count` descriptors that are kept. */
export function gateOf(count: number): number {
  return FIRST_KEPT + count;
}

/**
 * Closes everything but the standard streams, the descriptor of reports, `count` that are kept and, where there is one,
 * the gate.
 */
export function closeOthers(section: Section, count: number, hasGate: boolean): void {
  section.step('close descriptors');
  if (count === 0 && hasGate) section.call('close_range', [REPORT_FD + 1, FIRST_KEPT - 1, 0]);
  if (count === 0) {
    section.call('close_range', [hasGate ? gateOf(0) + 1 : REPORT_FD + 1, LAST, 0]);
    return;
  }
  section.call('close_range', [REPORT_FD + 1, KEPT_REPORT, 0]);
  section.call('close_range', [gateOf(count) + (hasGate ? 1 : 0), LAST, 0]);
  section.call('dup3', [REPORT_FD, KEPT_REPORT, O_CLOEXEC]);
  for (let index = 1; index < count; index += 1) {
    section.call('dup3', [FIRST_KEPT + index, REPORT_FD + index, 0]);
  }
  section.call('close_range', [FIRST_KEPT, LAST, CLOSE_RANGE_CLOEXEC]);
}

/** Before execve(2): the first one takes the place of the descriptor of reports. */
export function placeFirst(section: Section, count: number): void {
  if (count === 0) return;
  section.step('place the preserved descriptors');
  section.call('dup3', [FIRST_KEPT, REPORT_FD, 0]);
}

/** After an execve(2) that failed: there is something to report. */
export function restoreReport(section: Section, count: number): void {
  if (count > 0) section.call('dup3', [KEPT_REPORT, REPORT_FD, O_CLOEXEC]);
}
