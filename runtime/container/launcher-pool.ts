import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import type { LaunchReport } from './launch-bundle.ts';
import type { Libc } from './libc.ts';
import { LineChannel } from './line-channel.ts';
import { killTree, LAUNCHER_FLAGS, type SlotOptions, startSlot } from './monitor.ts';

/** How long the machine is left to the new container before the next launcher starts. */
const REFILL_DELAY_MS = 25;

export interface ContainerLauncher {
  readonly directory: string;
  readonly monitor: ChildProcess;
  readonly channel: LineChannel<LaunchReport>;
}

/** Ends a launcher that became nothing. (Node.js hangs when its directory goes while it starts: kill first.) */
export function discardLauncher(launcher: ContainerLauncher, directory: string): void {
  launcher.channel.close();
  if (launcher.monitor.pid !== undefined && launcher.monitor.exitCode === null)
    killTree(launcher.monitor.pid);
  rmSync(directory, { recursive: true, force: true });
}

export interface ExecLauncher {
  readonly channel: LineChannel<LaunchReport>;
  readonly pid: number;
  readonly stdin: Socket;
  readonly stdout: Socket;
  readonly stderr: Socket;
  readonly child: ChildProcess;
}

export interface PoolOptions {
  readonly libc: Libc;
  readonly slotsDir: string;
  readonly nodePath: string;
  readonly launcherPath: string;
  /** Waiting container launchers; 0 starts each on demand. */
  readonly size: number;
  /** Waiting exec launchers. */
  readonly execSize: number;
}

/** Launchers that have started Node.js already and wait for what to become. */
export class LauncherPool {
  readonly #options: PoolOptions;
  readonly #containers: ContainerLauncher[] = [];
  readonly #execs: ExecLauncher[] = [];
  #refill: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#fill();
  }

  /** A launcher for a container of its own pid namespace: a waiting one, else a new one. */
  takeContainer(): ContainerLauncher {
    let launcher = this.#containers.shift();
    while (launcher?.channel.isEnded) {
      rmSync(launcher.directory, { recursive: true, force: true });
      launcher = this.#containers.shift();
    }
    this.#scheduleFill();
    return (
      launcher ??
      this.startContainer({ pidNamespace: 'new', terminal: false, inheritStreams: false, isPooled: false })
    );
  }

  /** Starts a launcher for one special container. */
  startContainer(
    options: Pick<SlotOptions, 'pidNamespace' | 'terminal' | 'inheritStreams' | 'isPooled'>,
  ): ContainerLauncher {
    const { libc, slotsDir, nodePath, launcherPath } = this.#options;
    const directory = join(slotsDir, randomBytes(8).toString('hex'));
    const slot = startSlot(libc, { ...options, directory, nodePath, launcherPath });
    return { directory, monitor: slot.monitor, channel: this.#open(slot.control) };
  }

  takeExec(): ExecLauncher {
    let launcher = this.#execs.shift();
    while (launcher?.channel.isEnded) launcher = this.#execs.shift();
    this.#scheduleFill();
    return launcher ?? this.#startExec();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#refill);
    for (const launcher of this.#containers.splice(0)) {
      discardLauncher(launcher, launcher.directory);
    }
    for (const launcher of this.#execs.splice(0)) {
      launcher.channel.close();
      for (const stream of [launcher.stdin, launcher.stdout, launcher.stderr]) stream.destroy();
    }
  }

  #startExec(): ExecLauncher {
    const { libc, nodePath, launcherPath } = this.#options;
    const [stdinRead, stdinWrite] = libc.pipe();
    const [stdoutRead, stdoutWrite] = libc.pipe();
    const [stderrRead, stderrWrite] = libc.pipe();
    const child = spawn(nodePath, [...LAUNCHER_FLAGS, launcherPath, 'exec'], {
      cwd: '/',
      detached: true,
      stdio: [stdinRead, stdoutWrite, stderrWrite, 'pipe'],
      env: {},
    });
    child.unref();
    child.on('error', () => {});
    for (const fd of [stdinRead, stdoutWrite, stderrWrite]) libc.close(fd);
    return {
      pid: child.pid ?? 0,
      child,
      channel: this.#open(child.stdio[3] as unknown as Socket),
      stdin: new Socket({ fd: stdinWrite, readable: false, writable: true }),
      stdout: new Socket({ fd: stdoutRead, readable: true, writable: false }),
      stderr: new Socket({ fd: stderrRead, readable: true, writable: false }),
    };
  }

  #open(socket: Socket): LineChannel<LaunchReport> {
    return new LineChannel<LaunchReport>(socket);
  }

  #scheduleFill(): void {
    if (this.#isClosed || this.#refill !== undefined) return;
    this.#refill = setTimeout(() => this.#fill(), REFILL_DELAY_MS);
    this.#refill.unref();
  }

  #fill(): void {
    this.#refill = undefined;
    if (this.#isClosed) return;
    const { size, execSize } = this.#options;
    while (this.#containers.length < size) {
      this.#containers.push(
        this.startContainer({ pidNamespace: 'new', terminal: false, inheritStreams: false, isPooled: true }),
      );
    }
    while (this.#execs.length < execSize) this.#execs.push(this.#startExec());
  }
}
