import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { arch } from 'node:os';
import { TkadmError } from '../../base/errors.ts';
import type { Libc } from '../libc.ts';
import { describeMachine, type Machine } from '../seccomp/syscall-numbers.ts';
import { buildPerformer } from './machine.ts';
import { ReportChannel } from './report-channel.ts';
import { Spawner } from './spawner.ts';

/** fcntl(2) commands. */
const F_GETFL = 3;
const F_SETFL = 4;

/** The name of the file that a process which has not become its program runs. */
export const PERFORMER_NAME = 'tkadm-performer';

/** Three of /dev/null. */
export const NO_STREAMS = ['ignore', 'ignore', 'ignore'] as const;

export interface PerformOptions {
  /** Its first argument, which shows in lists of processes. */
  readonly name: string;
  /** Descriptors 0 to 2; 3 is for reports, 4 is the program. */
  readonly streams: readonly [number | 'ignore', number | 'ignore', number | 'ignore'];
  /** Descriptor 5. */
  readonly control?: number;
}

/**
 * The performer as a file in memory that is sealed: no program that runs from it, or finds it as /proc/N/exe, can
 * change it (CVE-2019-5736), and nothing lies on a disk.
 */
export class Performer {
  readonly machine: Machine;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #null: number;
  readonly #spawner: Spawner;

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
    this.#null = openSync('/dev/null', 'r+');
    this.#spawner = new Spawner({ libc, machine: this.machine, fileFd: this.#fd });
  }

  /**
   * Runs a program in "/", in a session of its own. Nobody has to wait for the process.
   * @throws Error when there is no process to be had.
   */
  perform(program: Buffer, { name, streams, control }: PerformOptions): ReportChannel {
    const standard = streams.map((stream) => (stream === 'ignore' ? this.#null : stream));
    for (const fd of streams) if (fd === 0 || fd === 1 || fd === 2) this.#makeBlocking(fd);
    const fd = this.#libc.createMemoryFile('tkadm-program', false);
    const [own, theirs] = this.#libc.socketPair('stream');
    // It has `own` from here on, whatever happens.
    const reports = new Socket({ fd: own, readable: true, writable: true });
    try {
      writeSync(fd, program, 0, program.length, 0);
      const more = control === undefined ? [] : [control];
      this.#spawner.request(name, [...standard, theirs, fd, ...more]);
      return new ReportChannel(reports);
    } catch (error) {
      reports.destroy();
      throw error;
    } finally {
      closeSync(fd);
      closeSync(theirs);
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
    this.#spawner.close();
    closeSync(this.#null);
    closeSync(this.#fd);
  }
}
