import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';
import type { Libc } from '../libc.ts';
import type { Machine } from '../seccomp/syscall-numbers.ts';
import { buildSpawnerProgram, REQUEST_NAME_SIZE } from './spawner-program.ts';

export interface SpawnerOptions {
  readonly libc: Libc;
  readonly machine: Machine;
  /** The performer's file. */
  readonly fileFd: number;
}

/** The process that starts performers for this one: see buildSpawnerProgram(). When it has gone, it is started anew. */
export class Spawner {
  readonly #options: SpawnerOptions;
  /** The engine's end of the socket; the spawner ends with it. */
  #own: { readonly socket: number } | undefined;

  constructor(options: SpawnerOptions) {
    this.#options = options;
  }

  /**
   * Starts a performer with these descriptors for its own from 0 on. It reports on its descriptor 3 that it was born.
   * @throws Error when there is no spawner to be had.
   */
  request(name: string, descriptors: readonly number[]): void {
    const text = Buffer.alloc(REQUEST_NAME_SIZE);
    text.write(name, 0, REQUEST_NAME_SIZE - 1);
    for (const isLast of [false, true]) {
      this.#own ??= this.#start();
      if (this.#options.libc.sendDescriptors(this.#own.socket, text, descriptors)) return;
      // It has gone, and the event that tells so is yet to come.
      this.close();
      if (isLast) throw new Error('the spawner has ended');
    }
  }

  /** Ends the spawner; what it has started goes on. */
  close(): void {
    if (this.#own !== undefined) closeSync(this.#own.socket);
    this.#own = undefined;
  }

  #start(): { readonly socket: number } {
    const { libc } = this.#options;
    const [socket, theirs] = libc.socketPair('seqpacket');
    const own = { socket };
    const forget = () => {
      if (this.#own === own) this.close();
    };
    try {
      this.#spawn(theirs).on('exit', forget).on('error', forget);
      return own;
    } catch (error) {
      closeSync(socket);
      throw error;
    } finally {
      closeSync(theirs);
    }
  }

  #spawn(socket: number): ChildProcess {
    const { libc, machine, fileFd } = this.#options;
    const { bytes } = buildSpawnerProgram(machine);
    const program = libc.createMemoryFile('tkadm-program', false);
    try {
      writeSync(program, bytes, 0, bytes.length, 0);
      const child = spawn(`/proc/self/fd/${fileFd}`, [], {
        argv0: 'tkadm-spawner',
        cwd: '/',
        detached: true,
        stdio: ['ignore', 'ignore', 'ignore', socket, program, fileFd],
        env: {},
      });
      child.unref();
      return child;
    } finally {
      closeSync(program);
    }
  }
}
