/** A filter for system calls: flags of seccomp(2), and the instructions. */
export interface StoredFilter {
  readonly flags: number;
  readonly program: Buffer;
  /** Others decide on some calls: seccomp(2) returns a descriptor for them. */
  readonly hasListener: boolean;
}

/** How a mount of type "cgroup" is made inside the container. */
export type CgroupMounts =
  | { readonly version: 2; readonly mountPoint: string }
  | {
      readonly version: 1;
      /** Directory name, "cpu,cpuacct", and the options that name the hierarchy. */
      readonly hierarchies: readonly {
        readonly name: string;
        readonly options: string;
        readonly mountPoint: string;
      }[];
    };

/** File names inside a container's directory; the FIFOs carry streams between monitor, container and engine. */
export const SLOT_FILES = {
  stdin: 'in',
  stdout: 'out',
  stderr: 'err',
  /** Engine → container: starts it, with the HOME that it is to have. */
  start: 'start',
  /** Container → engine: end of file when execve(2) worked, else the report of the failure. */
  result: 'result',
  /** Engine → monitor: all output has been read. */
  ack: 'ack',
  exit: 'exit',
  /** Pid and start time of the engine that made the directory. */
  owner: 'owner',
  config: 'config.json',
  state: 'state.json',
  staging: 'rootfs',
} as const;

export const SLOT_FIFOS = ['in', 'out', 'err', 'start', 'result', 'ack'] as const;
