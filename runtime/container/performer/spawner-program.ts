import { AT_EMPTY_PATH, CLONE } from '../kernel-constants.ts';
import type { Machine } from '../seccomp/syscall-numbers.ts';
import { REPORT_FD } from './machine.ts';
import { hide, maskSignals } from './process-program.ts';
import { type DataRef, failed, type Label, type LinkedProgram, linkProgram, Section } from './program.ts';
import { buildReport, REPORT, REPORT_SIZE } from './report-program.ts';

const SIGCHLD = 17;
const SA_NOCLDWAIT = 2;
/** `struct sigaction` of the kernel: handler, flags, restorer, mask. */
const SIGACTION_SIZE = 32;
const SIGNAL_SET_SIZE = 8;
/** fcntl(2) */
const F_DUPFD_CLOEXEC = 1030;
const MSG_CMSG_CLOEXEC = 0x40000000;
/** `struct msghdr`: where its fields are. */
const MESSAGE = { parts: 16, partCount: 24, control: 32, controlSize: 40, size: 56 } as const;
/** `struct cmsghdr` is before the descriptors, of which each takes 4 bytes. */
const CONTROL_HEADER_SIZE = 16;

/** The descriptor of the performer's file in the process that starts the spawner. */
const SPAWNER_FILE_FD = 5;
/** The descriptors that a request brings, for 0 to 5 of the new process; the last may be missing. */
const REQUEST_DESCRIPTORS = 6;
/** The longest name of a process, with its zero byte. */
export const REQUEST_NAME_SIZE = 64;
const CONTROL_SIZE = CONTROL_HEADER_SIZE + 4 * REQUEST_DESCRIPTORS;
const OPTIONAL = REQUEST_DESCRIPTORS - 1;
const CLOSE_ALL = 0xffffffff;
/** Where the performer's file is held, above all descriptors that come with a request. */
const FILE_FD = 64;

/**
 * The program of the spawner: a performer that starts performers. A process of two pages is cloned in a tenth of a
 * millisecond, a Node.js process in several, and all its memory is to be copied on the next write.
 *
 *     recvmsg(3): a name, and descriptors 0 to 5 of the new process; the end: exit
 *     clone(CLONE_VM | CLONE_VFORK) ── child: session, descriptors, execveat(2) of the performer
 *     close what was received; again
 *
 * What fails is reported on the descriptor 3 that was received.
 * A child that has ended vanishes by itself, as SA_NOCLDWAIT says. Signals are blocked: only the
 * end of the socket and SIGKILL end the spawner.
 */
export function buildSpawnerProgram(machine: Machine): LinkedProgram {
  const [parent, child] = [new Section(), new Section()];
  const file = parent.room();
  hide(parent, 'tkadm-spawner');
  maskSignals(parent, true);
  parent.step('let children go');
  const action = Buffer.alloc(SIGACTION_SIZE);
  action.writeUInt32LE(SA_NOCLDWAIT, 8);
  parent.call('rt_sigaction', [SIGCHLD, parent.bytes(action), 0, SIGNAL_SET_SIZE]);
  parent.step('keep the performer');
  parent.call('close_range', [SPAWNER_FILE_FD + 1, CLOSE_ALL, 0]);
  parent.call('fcntl', [SPAWNER_FILE_FD, F_DUPFD_CLOEXEC, FILE_FD], { into: file });
  const request = buildRequest(parent);
  const birth = child.label();
  serve(parent, request, birth);
  child.place(birth);
  buildBirth(child, request, file);
  return linkProgram([parent, child], machine);
}

/** One request after the other; a child begins at `birth`. */
function serve(section: Section, request: Request, birth: Label): void {
  const failure = buildReport(section, REPORT.unborn);
  const [loop, receive, unborn] = [section.label(), section.label(), section.label()];
  const [clean, end] = [section.label(), section.label()];
  section.place(loop);
  section.call('', [CONTROL_SIZE], { into: request.controlSize });
  section.call('', [-1], { into: request.descriptors[OPTIONAL]!, onError: receive });
  section.place(receive);
  section.step('receive a request');
  section.call('recvmsg', [REPORT_FD, request.message, MSG_CMSG_CLOEXEC], { on: [[0, end]] });
  section.call('clone', [CLONE.VM | CLONE.VFORK | SIGCHLD, 0, 0, 0, 0], {
    into: failure.value,
    on: [[0, birth]],
    onError: unborn,
  });
  section.place(clean);
  section.call('close_range', [SPAWNER_FILE_FD + 1, FILE_FD - 1, 0]);
  section.jump(loop);
  section.later(() => {
    section.place(unborn);
    const reports = request.descriptors[REPORT_FD]!;
    section.call('write', [{ at: reports }, failure.data, REPORT_SIZE], { onError: clean });
    section.jump(clean);
    section.place(end);
    section.call('exit_group', [0]);
  });
}

interface Request {
  readonly message: DataRef;
  readonly name: DataRef;
  /** Bytes of the control message: what there is room for, and then what came. */
  readonly controlSize: DataRef;
  readonly descriptors: readonly DataRef[];
}

/** The memory that recvmsg(2) fills. Calls take the low half of a descriptor's word; the high one is the next. */
function buildRequest(section: Section): Request {
  const name = section.room(REQUEST_NAME_SIZE);
  const part = Buffer.alloc(16);
  part.writeUInt32LE(REQUEST_NAME_SIZE, 8);
  const parts = section.bytes(part);
  section.point(parts, 0, name);
  const control = section.room(CONTROL_SIZE + 8);
  const header = Buffer.alloc(MESSAGE.size);
  header.writeUInt32LE(1, MESSAGE.partCount);
  const message = section.bytes(header);
  section.point(message, MESSAGE.parts, parts);
  section.point(message, MESSAGE.control, control);
  return {
    message,
    name,
    controlSize: { section, offset: message.offset + MESSAGE.controlSize },
    descriptors: Array.from({ length: REQUEST_DESCRIPTORS }, (_unused, index) => ({
      section,
      offset: control.offset + CONTROL_HEADER_SIZE + 4 * index,
    })),
  };
}

/** The child, which runs in the parent's memory while the parent waits. */
function buildBirth(section: Section, request: Request, file: DataRef): void {
  const failure = buildReport(section, REPORT.unborn);
  const [unborn, alone, ready, end] = [section.label(), section.label(), section.label(), section.label()];
  const options = { into: failure.value, onError: unborn };
  section.call('setsid', [], options);
  for (const [target, descriptor] of request.descriptors.entries()) {
    const on = target === OPTIONAL ? [[failed('EBADF'), alone] as const] : [];
    section.call('dup3', [{ at: descriptor }, target, 0], { ...options, on });
  }
  section.place(ready);
  const [argv, envp] = [section.pointers([request.name]), section.pointers([])];
  section.call('execveat', [{ at: file }, section.text(''), argv, envp, AT_EMPTY_PATH], options);
  section.place(unborn);
  const reports = request.descriptors[REPORT_FD]!;
  section.call('write', [{ at: reports }, failure.data, REPORT_SIZE], { onError: end });
  section.place(end);
  section.call('exit_group', [0]);
  section.later(() => {
    section.place(alone);
    section.call('close', [OPTIONAL], options);
    section.jump(ready);
  });
}
