import { REPORT_FD } from './machine.ts';
import type { DataRef, Section } from './program.ts';

export const REPORT_SIZE = 16;

/** What a report of 16 bytes says in its first word, beside a failed record's address. */
export const REPORT = {
  /** The second word is a host pid. */
  pid: 1,
  ready: 2,
  /** The second word is a wait status, wait4(2). */
  exit: 3,
  /** The second word is the descriptor of a terminal's master in the process that was reported. */
  terminal: 4,
  /** The process could not be started; the second word is the result of the call. */
  unborn: 5,
  /** The second word is the pid of a container's monitor. */
  monitor: 6,
  /** The container waits for what the runtime does before it enters its root. */
  stage: 7,
  /** It waits for a file system to be filled: see copyUp(). */
  copyUp: 8,
  /** The second word is the descriptor of a filter's listener in this process, which waits. */
  listener: 9,
  /** A limit was not applied; the second word is the result of the call. From here on, one for each of the calls. */
  warnings: 16,
} as const;

/** A report of two words; the second one is for a result. */
export function buildReport(
  section: Section,
  kind: number,
): { readonly data: DataRef; readonly value: DataRef } {
  const message = Buffer.alloc(REPORT_SIZE);
  message.writeUInt32LE(kind, 0);
  const data = section.bytes(message);
  return { data, value: { section, offset: data.offset + 8 } };
}

export function sendReport(section: Section, fd: number, data: DataRef): void {
  section.step('report');
  section.call('write', [fd, data, REPORT_SIZE]);
}

/** Reports, and waits until the runtime answers with a byte; without a runtime this process ends. */
export function waitForRuntime(section: Section, kind: number): void {
  const gone = section.label();
  sendReport(section, REPORT_FD, buildReport(section, kind).data);
  section.step('wait for the runtime');
  section.call('read', [REPORT_FD, section.room(), 1], { on: [[0, gone]] });
  section.later(() => {
    section.place(gone);
    section.call('exit_group', [0]);
  });
}
