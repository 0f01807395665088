import type { Readable, Writable } from 'node:stream';
import type { Cgroup } from './cgroup/cgroup.ts';
import type { CgroupDetails } from './cgroup/cgroup-details.ts';
import type { LogLimit } from './log-writer.ts';
import type { OciProcess, OciSpec } from './oci-spec.ts';

/**
 * Where the root file system comes from; overlay directories are topmost first (overlayfs `lowerdir` order).
 *
 * `isIdMapped` is for containers with a user namespace: the files on disk, also those written, belong to the container's
 * own ids (0 is its root), so that layers are shared by containers with different mappings and nothing is ever chowned.
 * It needs mappings in the spec, idmapped layers (overlayfs of Linux 5.19; `path`: 5.12) and `upperDir` beside `workDir`.
 * Without it they are the host's ids, and the caller sees to it that they belong to the mapped ones, as with runc.
 */
export type RootfsSource =
  | {
      readonly kind: 'overlay';
      readonly lowerDirs: readonly string[];
      readonly upperDir: string;
      readonly workDir: string;
      readonly isIdMapped?: boolean;
    }
  | { readonly kind: 'path'; readonly path: string; readonly isIdMapped?: boolean };

/** How a container of runc's command line differs from one of an engine that goes on. */
export interface LaunchTraits {
  /**
   * Who waits for the first process: a monitor of ours, which records the exit, or whoever gets the orphans of this
   * process, as with runc; its streams are then this process's own or the console socket's.
   */
  readonly reaper?: 'monitor' | 'caller';
  /** Path of a unix socket that gets the terminal's master. */
  readonly consoleSocket?: string | undefined;
  /** Descriptors that the container has as 3, 4 and so on. */
  readonly preserved?: { readonly pid: number; readonly fds: readonly number[] } | undefined;
  /** MS_MOVE instead of pivot_root(2). */
  readonly hasNoPivot?: boolean;
  /** Where in the container's cgroup a further process goes: "PATH", or with cgroup v1 "CONTROLLER,..:PATH". */
  readonly cgroups?: readonly string[] | undefined;
  /** The session keyring is the caller's. */
  readonly keepsKeyring?: boolean;
}

export interface CreateContainerOptions {
  readonly id: string;
  /** OCI runtime-spec config; `spec.process.terminal` asks for a pseudo-terminal. */
  readonly spec: OciSpec;
  readonly rootfs: RootfsSource;
  /** File for the output in CRI log format ("TIME stdout F text"); undefined drops the output. */
  readonly logPath?: string | undefined;
  /** Without it the log grows until somebody renames it and says so (reopenLog). */
  readonly logLimit?: LogLimit | undefined;
  /** Keep standard input open for attach; otherwise it is /dev/null. */
  readonly stdin?: boolean;
  /** Close standard input when the first attached client ends. */
  readonly stdinOnce?: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Limits of the directory above the container's own cgroup, which is the pod's. */
  readonly parentResources?: ResourceUpdate | undefined;
  /** The process gets this process's own standard streams; no log, no attach (runc's `create`). */
  readonly inheritStreams?: boolean;
  readonly traits?: LaunchTraits;
  /** systemd makes the cgroup: `linux.cgroupsPath` is of a scope, see parseScopePath(). */
  readonly hasSystemdScope?: boolean;
  /** The bundle's directory, which hooks are told. */
  readonly bundle?: string;
  /** A program with runc's command line that makes the container in the engine's place. */
  readonly runtimePath?: string | undefined;
}

export interface ContainerStatus {
  readonly id: string;
  readonly state: 'created' | 'running' | 'exited';
  /** Host pid of the container's first process. */
  readonly pid?: number | undefined;
  readonly createdAt: Date;
  readonly startedAt?: Date | undefined;
  readonly finishedAt?: Date | undefined;
  /** 0-255; 128 + signal number for a death by signal. */
  readonly exitCode?: number | undefined;
  readonly isOomKilled?: boolean | undefined;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly bundle?: string | undefined;
}

/** A process's streams: with a terminal, stdout carries both and stderr is undefined. */
export interface ProcessStreams {
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  readonly stderr: Readable | undefined;
  resize(columns: number, rows: number): void;
}

export interface ExecOptions {
  readonly process: OciProcess;
  readonly stdin?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface ExecSession extends ProcessStreams {
  readonly pid: number;
  /** The exit code, 128 + signal number for a death by signal. */
  readonly exited: Promise<number>;
  kill(signal: NodeJS.Signals): void;
}

export interface ContainerStats extends CgroupDetails {
  readonly cpuUsageNanos: bigint;
  readonly memoryUsageBytes: number;
  readonly memoryWorkingSetBytes: number;
  readonly memoryRssBytes: number;
  readonly pids: number;
}

/** A process in a container with the streams of the process that asks. */
export interface PlainExec {
  readonly pid: number;
  /** Its exit code; undefined with the reaper "caller". */
  readonly exited: Promise<number> | undefined;
}

/** Linux resources that can change while the container runs; the units of the OCI runtime-spec. */
export type ResourceUpdate = NonNullable<NonNullable<OciSpec['linux']>['resources']>;

/**
 * Creates and runs containers. State lives in files, so that a new engine over the same directory finds
 * every container again: running ones go on meanwhile, their output and exit code are not lost.
 */
export interface ContainerEngine {
  create(options: CreateContainerOptions): Promise<ContainerStatus>;
  start(id: string): Promise<ContainerStatus>;
  /** Sends a signal to the first process; `all` to every process of the container. */
  kill(id: string, signal: NodeJS.Signals, options?: { readonly all?: boolean }): Promise<void>;
  /** SIGTERM (or `signal`), after the grace period SIGKILL; resolves when it has exited. */
  stop(
    id: string,
    options: { readonly graceMs: number; readonly signal?: NodeJS.Signals },
  ): Promise<ContainerStatus>;
  /** Removes an exited or created container with its cgroup and state; its upperDir is the caller's. */
  delete(id: string, options?: { readonly force?: boolean }): Promise<void>;
  status(id: string): ContainerStatus | undefined;
  list(): readonly ContainerStatus[];
  wait(id: string): Promise<ContainerStatus>;
  /** Every exit from now on. */
  exits(signal: AbortSignal): AsyncIterable<ContainerStatus>;
  exec(id: string, options: ExecOptions): Promise<ExecSession>;
  /** The same with this process's own streams, or a console socket. */
  execPlain(id: string, process: OciProcess, traits?: LaunchTraits): Promise<PlainExec>;
  /** The live streams of the first process; output from now on. */
  attach(id: string): ProcessStreams & { close(): void };
  spec(id: string): OciSpec;
  /** Undefined for a container without a cgroup of its own. */
  cgroup(id: string): Cgroup | undefined;
  stats(id: string): Promise<ContainerStats | undefined>;
  /** Host pids of every process of the container. */
  pids(id: string): readonly number[];
  update(id: string, resources: ResourceUpdate): Promise<void>;
  /** Sets limits of the directory above the container's cgroup, see `parentResources`. */
  updateParent(id: string, resources: ResourceUpdate): Promise<void>;
  /** Freezes every process of the container. */
  pause(id: string): Promise<void>;
  resume(id: string): Promise<void>;
  /** Ends log writing to the present file and opens `logPath` anew (after rotation). */
  reopenLog(id: string): Promise<void>;
  /** Ends following; containers go on. */
  close(): Promise<void>;
}
