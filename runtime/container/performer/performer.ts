import { type ChildProcess, type IOType, spawn } from 'node:child_process';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { arch } from 'node:os';
import type { Duplex } from 'node:stream';
import { TkadmError } from '../../base/errors.ts';
import type { Libc } from '../libc.ts';
import { describeMachine, type Machine } from '../seccomp/syscall-numbers.ts';
import { buildPerformer, REPORT_FD } from './machine.ts';
import { ReportChannel } from './report-channel.ts';

/** fcntl(2) commands. */
const F_GETFL = 3;
const F_SETFL = 4;

/** The name of the file that a process which has not become its program runs. */
export const PERFORMER_NAME = 'tkadm-performer';

export interface PerformOptions {
  /** Its first argument, which shows in lists of processes. */
  readonly name: string;
  readonly cwd: string;
  /** Descriptors 0 to 2, 3 for reports, and those from 5 on; 4 is the program. */
  readonly streams: readonly [IOType | number, IOType | number, IOType | number];
  readonly more?: readonly IOType[];
}

/** A process of the performer; its reports tell when it could not be started. */
export interface Performed {
  readonly child: ChildProcess;
  readonly reports: ReportChannel;
}

/**
 * The performer as a file in memory that is sealed: no program that runs from it, or finds it as /proc/N/exe, can
 * change it (CVE-2019-5736), and nothing lies on a disk.
 */
export class Performer {
  readonly machine: Machine;
  readonly #libc: Libc;
  readonly #fd: number;

  /** @throws UNSUPPORTED on a machine that is neither x64 nor arm64. */
  constructor(libc: Libc) {
    const architecture = arch();
    if (architecture !== 'x64' && architecture !== 'arm64') {
      throw new TkadmError('UNSUPPORTED', `Cannot run containers: architecture "${architecture}"`);
    }
    this.machine = describeMachine(architecture);
    this.#libc = libc;
    const writable = libc.createMemoryFile(PERFORMER_NAME, true);
    writeSync(writable, buildPerformer(architecture));
    libc.sealMemoryFile(writable);
    // A file that is open for writing is not executed.
    this.#fd = openSync(`/proc/self/fd/${writable}`, 'r');
    closeSync(writable);
  }

  /** Runs a program in a session of its own. */
  perform(program: Buffer, { name, cwd, streams, more = [] }: PerformOptions): Performed {
    for (const [target, stream] of streams.entries()) if (stream === 'inherit') this.#makeBlocking(target);
    const fd = this.#libc.createMemoryFile('tkadm-program', false);
    try {
      writeSync(fd, program, 0, program.length, 0);
      const child = spawn(`/proc/self/fd/${this.#fd}`, [], {
        argv0: name,
        cwd,
        detached: true,
        stdio: [...streams, 'pipe', fd, ...more],
        env: {},
      });
      // Without descriptors for the pipes there are none.
      if ((child.stdio as unknown) === undefined) throw new Error('too many open files');
      child.unref();
      const performed: Performed = { child, reports: new ReportChannel(child.stdio[REPORT_FD] as Duplex) };
      child.on('error', (error) => performed.reports.fail(error));
      return performed;
    } finally {
      closeSync(fd);
    }
  }

  /** Few programs expect a non-blocking stream, as libuv makes them: a full pipe would be an error. */
  #makeBlocking(fd: number): void {
    try {
      this.#libc.fcntl(fd, F_SETFL, this.#libc.fcntl(fd, F_GETFL, 0) & ~constants.O_NONBLOCK);
    } catch {
      // The descriptor is closed.
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
