import { AT_FDCWD, OPEN } from '../kernel-constants.ts';
import type { OciProcess } from '../oci-spec.ts';
import { REPORT_FD } from './machine.ts';
import { type DataRef, failed, type Label, type Section } from './program.ts';
import { buildReport, REPORT, sendReport } from './report-program.ts';

const O_CLOEXEC = 0o2000000;

/** Resource numbers of setrlimit(2). */
const RLIMITS: Readonly<Record<string, number>> = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
};

/** A call that a machine may forbid: what it was for, and where its result is. */
export interface WarnableCall {
  readonly what: string;
}

/** Sets resource limits and the OOM score; the results of what a machine may forbid are sent with the warnings. */
export function setLimits(section: Section, process_: OciProcess): readonly WarnableCall[] {
  const calls: WarnableCall[] = [];
  const add = (what: string, build: (next: Label, into: DataRef) => void) => {
    const { data, value } = buildReport(section, REPORT.warnings + calls.length);
    calls.push({ what });
    const [next, warn] = [section.label(), section.label()];
    section.step(what);
    build(warn, value);
    section.place(next);
    section.later(() => {
      section.place(warn);
      sendReport(section, REPORT_FD, data);
      section.jump(next);
    });
  };
  for (const { type, soft, hard } of process_.rlimits ?? []) {
    const number = RLIMITS[type];
    if (number === undefined) throw new Error(`rlimit "${type}": unknown type`);
    const limits = Buffer.alloc(16);
    limits.writeBigUInt64LE(limit(soft), 0);
    limits.writeBigUInt64LE(limit(hard), 8);
    add(`rlimit "${type}"`, (warn, into) => {
      section.call('prlimit64', [0, number, section.bytes(limits), 0], { into, on: forbidden(warn) });
    });
  }
  const { oomScoreAdj } = process_;
  if (oomScoreAdj !== undefined) {
    add('OOM score', (warn, into) => {
      const text = Buffer.from(String(oomScoreAdj));
      const fd = section.room();
      const path = section.text('/proc/self/oom_score_adj');
      section.call('openat', [AT_FDCWD, path, OPEN.WRONLY | O_CLOEXEC, 0], { into: fd });
      section.call('write', [{ at: fd }, section.bytes(text), text.length], { into, on: forbidden(warn) });
      section.call('close', [{ at: fd }]);
    });
  }
  return calls;
}

const forbidden = (warn: Label) =>
  [
    [failed('EPERM'), warn],
    [failed('EACCES'), warn],
  ] as const;

function limit(value: number): bigint {
  return value < 0 || value >= Number.MAX_SAFE_INTEGER ? 0xffffffffffffffffn : BigInt(value);
}
