import type { RootfsSource } from './engine.ts';
import type { OciProcess, OciSpec } from './oci-spec.ts';

/** What a waiting launcher gets over its control socket, one JSON line, to become a container. */
export interface ContainerBundle {
  readonly kind: 'container';
  readonly spec: OciSpec;
  readonly rootfs: RootfsSource;
  /** An empty directory of the host: mount point of the root file system in the container's own namespace. */
  readonly stagingDir: string;
  /** Files to write "0" to, which moves the launcher into the container's cgroups. */
  readonly cgroupJoinFiles: readonly string[];
  readonly cgroupMounts: CgroupMounts;
  readonly stdin: boolean;
  readonly inheritStreams: boolean;
  readonly seccomp?: StoredFilter | undefined;
}

/** A filter for system calls: flags of seccomp(2), and the instructions in base64. */
export interface StoredFilter {
  readonly flags: number;
  readonly program: string;
}

/** How a mount of type "cgroup" is made inside the container. */
export type CgroupMounts =
  | { readonly version: 2 }
  | {
      readonly version: 1;
      /** Directory name, "cpu,cpuacct", and the options that name the hierarchy. */
      readonly hierarchies: readonly { readonly name: string; readonly options: string }[];
    };

/** What a waiting launcher gets to run one more process in a running container. */
export interface ExecBundle {
  readonly kind: 'exec';
  /** Host pid whose namespaces are joined. */
  readonly pid: number;
  readonly process: OciProcess;
  readonly cgroupJoinFiles: readonly string[];
  readonly stdin: boolean;
  readonly seccomp?: StoredFilter | undefined;
}

export type LaunchBundle = ContainerBundle | ExecBundle;

/**
 * What the launcher answers, JSON lines: `ready` after create (container) or with the pseudo-terminal's
 * descriptor (exec, which then waits for one line); `running` and `exited` of an exec's process.
 */
export type LaunchReport =
  | { readonly kind: 'ready'; readonly pid: number; readonly warnings: readonly string[] }
  | { readonly kind: 'terminal'; readonly pid: number; readonly masterFd: number }
  | { readonly kind: 'running'; readonly pid: number }
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'error'; readonly message: string };

/** File names inside a slot's directory; the FIFOs carry streams between monitor, launcher and engine. */
export const SLOT_FILES = {
  stdin: 'in',
  stdout: 'out',
  stderr: 'err',
  /** Engine → launcher: one byte starts the container. */
  start: 'start',
  /** Launcher → engine: end of file when execve(2) worked, else the error's text. */
  result: 'result',
  /** Engine → monitor: all output has been read. */
  ack: 'ack',
  exit: 'exit',
  monitor: 'monitor',
  /** Pid and start time of the engine that made the slot. */
  owner: 'owner',
  config: 'config.json',
  state: 'state.json',
  staging: 'rootfs',
} as const;

export const SLOT_FIFOS = ['in', 'out', 'err', 'start', 'result', 'ack'] as const;
