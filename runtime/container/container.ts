import { type FSWatcher, readFileSync, readlinkSync, watch } from 'node:fs';
import { join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { sleep } from '../base/time.ts';
import type { Cgroup, CgroupContext } from './cgroup/cgroup.ts';
import { readState, type StoredContainer, writeState } from './container-state.ts';
import { ContainerStreams } from './container-streams.ts';
import type { ContainerStatus, ProcessStreams } from './engine.ts';
import { deleteForeign, isForeignWaiting, startForeign } from './foreign-runtime.ts';
import { type HookTime, hasHooks, runHooks } from './hooks.ts';
import { SLOT_FILES } from './launch-bundle.ts';
import type { Libc } from './libc.ts';
import { LogWriter } from './log-writer.ts';
import { killTree, readExit, readStartTime, removeDirectory, writeFifo } from './monitor.ts';
import type { OciSpec } from './oci-spec.ts';
import { PERFORMER_NAME, type Performer } from './performer/performer.ts';
import type { FilterStore } from './seccomp/stored-filter.ts';
import { openGate } from './start-gate.ts';
import { openContainerCgroup } from './systemd/scope-cgroup.ts';

/** How long output may go on after the first process's end, when others hold the pipes. */
const DRAIN_TIMEOUT_MS = 2000;
/** How often, once a millisecond, the end of a killed monitor is looked for. */
const MAX_END_TRIES = 2000;
/** How often a process is looked for that another one waits for. */
const PROCESS_POLL_MS = 10;
/** The exit code when nobody saw the end: the machine was restarted or the monitor killed. */
const UNKNOWN_EXIT_CODE = 255;

export interface ContainerContext {
  readonly libc: Libc;
  readonly performer: Performer;
  readonly filters: FilterStore;
  readonly cgroups: CgroupContext;
  readonly log: Logger;
  readonly now: () => Date;
  readonly onExit: (container: Container) => void;
}

/** One container: its directory, its monitor, its streams and its exit. */
export class Container {
  readonly directory: string;
  readonly cgroup: Cgroup | undefined;
  readonly exited: Promise<void>;
  readonly #context: ContainerContext;
  readonly #logWriter: LogWriter | undefined;
  #state: StoredContainer;
  #streams: ContainerStreams | undefined;
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #spec: OciSpec | undefined;
  #starting: Promise<void> | undefined;
  #isFinishing = false;
  #resolveExited: () => void = () => {};

  /** `spec` saves reading it from the directory. */
  constructor(context: ContainerContext, directory: string, state: StoredContainer, spec?: OciSpec) {
    this.#context = context;
    this.#spec = spec;
    this.directory = directory;
    this.#state = state;
    const { cgroupPath: path, isScope = false } = state;
    this.cgroup = path === undefined ? undefined : openContainerCgroup(context, { path, isScope });
    this.#logWriter =
      state.logPath === undefined ? undefined : new LogWriter(state.logPath, context.now, state.logLimit);
    this.exited = new Promise((resolve) => {
      this.#resolveExited = resolve;
    });
    if (state.finishedAt !== undefined) this.#resolveExited();
  }

  get state(): StoredContainer {
    return this.#state;
  }

  get isExited(): boolean {
    return this.#state.finishedAt !== undefined;
  }

  /** Begins to read output, unless another one does, and to watch for the exit; handles one that has happened already. */
  follow({ hasOutput = true }: { readonly hasOutput?: boolean } = {}): void {
    if (this.isExited) return;
    if (this.#state.isReapedByCaller) {
      this.#watchProcess();
      return;
    }
    if (!this.#isMonitorAlive() && readExit(this.directory) === undefined) {
      this.#abandon();
      return;
    }
    const { terminal, stdin, stdinOnce, monitorPid, hasInheritedStreams } = this.#state;
    if (hasOutput && !hasInheritedStreams) {
      this.#streams = new ContainerStreams({
        libc: this.#context.libc,
        directory: this.directory,
        monitorPid,
        terminal,
        stdin,
        stdinOnce,
        log: this.#logWriter,
        onLogError: (error) =>
          this.#context.log.warn('log not written', { id: this.#state.id, error: error.message }),
      });
    }
    this.#watcher = watch(this.directory, (_event, name) => {
      if (name === SLOT_FILES.exit) this.#checkExit();
    });
    this.#checkExit();
  }

  /** Looks every now and then whether the process that another one waits for is there. */
  #watchProcess(): void {
    const look = () => {
      if (readStartTime(this.#state.pid) === this.#state.pidStart) return;
      this.release();
      if (this.isExited) return;
      // Not written: another process may be about to remove the directory, and each finds out for itself.
      this.#state = {
        ...this.#state,
        finishedAt: this.#context.now().toISOString(),
        isOomKilled: this.cgroup?.isOomKilled() ?? false,
      };
      this.#resolveExited();
      this.#context.onExit(this);
    };
    this.#timer = setInterval(look, PROCESS_POLL_MS);
    look();
  }

  /** Lets the container become its program. @throws CONTAINER_LAUNCH, CONTAINER_STATE */
  async start(): Promise<void> {
    const { id } = this.#state;
    if (this.#state.startedAt !== undefined || this.isExited) {
      throw new TkadmError('CONTAINER_STATE', `Cannot start container "${id}": it is ${this.status().state}`);
    }
    this.#starting = this.#start();
    await this.#starting;
    if (hasHooks(this.spec, 'started')) await this.#runHooks('started');
  }

  #runHooks(at: HookTime): Promise<void> {
    return runHooks(this.#context, at, {
      id: this.#state.id,
      spec: this.spec,
      // A short program has ended by the time that its "poststart" runs: it is told as it was started.
      pid: at === 'deleted' ? undefined : this.#state.pid,
      bundle: this.#state.bundle ?? '',
      annotations: this.#state.annotations,
      cgroupJoinFiles: this.cgroup?.joinFiles ?? [],
    });
  }

  async #start(): Promise<void> {
    const { runtimePath, id } = this.#state;
    if (runtimePath === undefined) await this.#openGate();
    else await startForeign(runtimePath, this.directory, id);
    this.#update({ startedAt: this.#context.now().toISOString() });
    // A disk that is full must not stop the container; a write tells of it.
    void this.#logWriter?.create().catch(() => {});
  }

  async #openGate(): Promise<void> {
    if (hasHooks(this.spec, 'start')) {
      await this.#runHooks('start').catch((error: Error) => {
        this.kill('SIGKILL');
        throw error;
      });
    }
    const { libc } = this.#context;
    const waiting = { directory: this.directory, spec: this.spec, state: this.#state };
    await openGate(libc, waiting, () => this.kill('SIGKILL'));
  }

  /** Signals the first process. False when it has ended. */
  kill(signal: NodeJS.Signals): boolean {
    if (this.isExited || readStartTime(this.#state.pid) !== this.#state.pidStart) return false;
    try {
      process.kill(this.#state.pid, signal);
      return true;
    } catch {
      return false;
    }
  }

  /** Signals every process in the container's cgroup. */
  killAll(signal: NodeJS.Signals): void {
    if (this.cgroup === undefined) this.kill(signal);
    else this.cgroup.kill(signal);
  }

  attach(): ProcessStreams & { close(): void } {
    if (this.#streams === undefined || this.isExited) {
      throw new TkadmError(
        'CONTAINER_STATE',
        `Cannot attach to container "${this.#state.id}": it has exited`,
      );
    }
    return this.#streams.attach();
  }

  async reopenLog(): Promise<void> {
    await this.#logWriter?.reopen();
  }

  get spec(): OciSpec {
    this.#spec ??= JSON.parse(readFileSync(join(this.directory, SLOT_FILES.config), 'utf8')) as OciSpec;
    return this.#spec;
  }

  status(): ContainerStatus {
    const state = this.#state;
    const isRunning = state.startedAt !== undefined;
    return {
      id: state.id,
      state: this.isExited ? 'exited' : isRunning ? 'running' : 'created',
      pid: this.isExited ? undefined : state.pid,
      createdAt: new Date(state.createdAt),
      startedAt: state.startedAt === undefined ? undefined : new Date(state.startedAt),
      finishedAt: state.finishedAt === undefined ? undefined : new Date(state.finishedAt),
      exitCode: state.exitCode,
      isOomKilled: state.isOomKilled,
      annotations: state.annotations,
      ...(state.bundle === undefined ? {} : { bundle: state.bundle }),
    };
  }

  /** Ends following; the container goes on. */
  release(): void {
    this.#watcher?.close();
    this.#streams?.close();
    clearInterval(this.#timer);
  }

  /** Ends following when what was read is in the log. */
  async close(): Promise<void> {
    this.release();
    await this.#streams?.drained.catch(() => {});
    await this.#logWriter?.close().catch(() => {});
  }

  /** Removes cgroup and directory of an exited container. */
  async remove(): Promise<void> {
    // Another runtime runs the hooks of what it made.
    const hasLast = this.#state.runtimePath === undefined && hasHooks(this.spec, 'deleted');
    await this.#remove();
    if (hasLast) await this.#runHooks('deleted');
  }

  async #remove(): Promise<void> {
    this.release();
    const { id, runtimePath } = this.#state;
    if (runtimePath !== undefined) await deleteForeign(runtimePath, this.directory, id);
    await this.cgroup?.remove();
    writeFifo(join(this.directory, SLOT_FILES.ack), '\n');
    // A monitor that comes to its last line only now would wait for ever: it has recorded the exit.
    if (this.#isMonitorAlive()) killTree(this.#state.monitorPid);
    // It was the last that had the container's mounts.
    for (let tries = 0; tries < MAX_END_TRIES && this.#isMonitorAlive(); tries += 1) await sleep(1);
    removeDirectory(this.directory);
  }

  #isMonitorAlive(): boolean {
    return readStartTime(this.#state.monitorPid) === this.#state.monitorStart;
  }

  #checkExit(): void {
    const exit = readExit(this.directory);
    if (exit === undefined || this.#isFinishing) return;
    this.#isFinishing = true;
    this.#finish(exit.code, exit.finishedAt).catch((error: Error) => {
      this.#context.log.error('exit not recorded', { id: this.#state.id, error: error.message });
    });
  }

  async #finish(code: number, finishedAt: Date): Promise<void> {
    // The program may have ended before its start was recorded.
    if (this.#starting !== undefined) await this.#starting.catch(() => {});
    // Without a pid namespace of its own the container's other processes outlive the first.
    if (!this.#state.hasOwnPidNamespace) this.killAll('SIGKILL');
    const timeout = new AbortController();
    if (this.#streams !== undefined) {
      await Promise.race([this.#streams.drained, sleep(DRAIN_TIMEOUT_MS, timeout.signal).catch(() => {})]);
    }
    timeout.abort();
    this.release();
    await this.#logWriter?.close().catch(() => {});
    this.#update({
      finishedAt: latest(finishedAt.toISOString(), this.#state.startedAt),
      exitCode: code,
      isOomKilled: this.cgroup?.isOomKilled() ?? false,
    });
    writeFifo(join(this.directory, SLOT_FILES.ack), '\n');
    this.#resolveExited();
    this.#context.onExit(this);
  }

  #abandon(): void {
    this.kill('SIGKILL');
    this.#update({ finishedAt: this.#context.now().toISOString(), exitCode: UNKNOWN_EXIT_CODE });
    this.#resolveExited();
  }

  #update(change: Partial<StoredContainer>): void {
    this.#state = { ...this.#state, ...change };
    writeState(this.directory, this.#state);
  }
}

/** The container that an earlier engine left in `directory`; undefined when its creation was not finished. */
export function loadContainer(context: ContainerContext, directory: string): Container | undefined {
  const state = readState(directory);
  if (state === undefined) return undefined;
  // The engine may have died between the start and its record.
  const wasStarted = state.startedAt === undefined && !isWaiting(state, directory);
  return new Container(context, directory, wasStarted ? { ...state, startedAt: state.createdAt } : state);
}

/** True when it has not become its program. */
function isWaiting(state: StoredContainer, directory: string): boolean {
  if (readStartTime(state.pid) !== state.pidStart) return true;
  if (state.runtimePath !== undefined) return isForeignWaiting(directory, state.id);
  try {
    return readlinkSync(`/proc/${state.pid}/exe`).includes(PERFORMER_NAME);
  } catch {
    return true;
  }
}

/** File times are some milliseconds coarse: an exit is not before its start. */
function latest(time: string, other: string | undefined): string {
  return other !== undefined && other > time ? other : time;
}
