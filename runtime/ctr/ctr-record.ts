import type { LogLimit } from '../container/log-writer.ts';
import type { OciProcess } from '../container/oci-spec.ts';

/** A port of a container at the host. */
export interface PortBinding {
  readonly containerPort: number;
  readonly protocol: 'tcp' | 'udp';
  /** "" for every address. */
  readonly hostIp: string;
  /** 0 for any that is free. */
  readonly hostPort: number;
  /** Of a wish: any that is free from hostPort up to here. */
  readonly lastHostPort?: number;
}

/** A mount as it was asked for; paths of the host are absolute. */
export interface MountWish {
  readonly type: 'bind' | 'volume' | 'tmpfs';
  /** A path of the host, or the volume's name; "" for a volume without a name, and for tmpfs. */
  readonly source: string;
  readonly target: string;
  readonly isReadonly: boolean;
  /** "rprivate", ...; of binds. */
  readonly propagation?: string;
  /** A missing path of the host is made as a directory (`-v`), or an error (`--mount`). */
  readonly makesSource?: boolean;
  /** A new volume stays empty instead of getting the image's files. */
  readonly hasNoCopy?: boolean;
  /** tmpfs: "size=64m,mode=1777". */
  readonly options?: readonly string[];
}

export type RestartName = 'no' | 'on-failure' | 'always' | 'unless-stopped';

export interface RestartPolicy {
  readonly name: RestartName;
  /** With on-failure; 0 for ever. */
  readonly maximumRetryCount: number;
}

/** Limits; absent means none. */
export interface ResourceWish {
  readonly memoryBytes?: number;
  /** Memory and swap together; -1 without a limit. */
  readonly memorySwapBytes?: number;
  readonly memoryReservationBytes?: number;
  readonly cpuShares?: number;
  /** Microseconds of CPU time in each period. */
  readonly cpuQuotaUs?: number;
  readonly cpuPeriodUs?: number;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  /** -1 without a limit. */
  readonly pidsLimit?: number;
}

/** "none", "host", "bridge" or "container:ID". */
export type NetworkMode = 'none' | 'host' | 'bridge' | `container:${string}`;

/** Everything that `create` is asked for. What is absent comes from the image or is Docker's default. */
export interface CtrOptions {
  readonly image: string;
  readonly name?: string;
  /** Instead of the image's Cmd. */
  readonly command: readonly string[];
  /** Instead of the image's Entrypoint; [] for none. */
  readonly entrypoint?: readonly string[];
  readonly env: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly user?: string;
  readonly groups: readonly string[];
  readonly workingDir?: string;
  readonly hostname?: string;
  readonly domainname?: string;
  readonly hasTerminal: boolean;
  readonly hasStdin: boolean;
  /** Standard input ends with the first client's. */
  readonly isStdinOnce: boolean;
  readonly mounts: readonly MountWish[];
  /** Containers whose volumes and binds it gets as well. */
  readonly volumesFrom?: readonly { readonly container: string; readonly isReadonly: boolean }[];
  readonly ports: readonly PortBinding[];
  /** Every exposed port gets a port of the host. */
  readonly publishesAll: boolean;
  /** "80/tcp" */
  readonly exposedPorts: readonly string[];
  /** "name:address" */
  readonly extraHosts: readonly string[];
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  /** "container:" with a name as well. */
  readonly network: string;
  /** "host", "container:NAME" */
  readonly pidMode?: string;
  /** "private", "shareable", "none", "host", "container:NAME" */
  readonly ipcMode?: string;
  /** "host" */
  readonly utsMode?: string;
  readonly resources: ResourceWish;
  readonly restart: RestartPolicy;
  readonly isAutoRemoved: boolean;
  readonly isReadonly: boolean;
  readonly isPrivileged: boolean;
  readonly capAdd: readonly string[];
  readonly capDrop: readonly string[];
  /** "unconfined", or a profile; the default one when absent. */
  readonly seccomp?: 'unconfined' | { readonly path: string; readonly text: string };
  /** A profile that the kernel has loaded. */
  readonly apparmorProfile?: string;
  readonly hasNoNewPrivileges: boolean;
  /** Nothing of /proc and /sys is masked or read-only. */
  readonly hasOpenPaths?: boolean;
  readonly stopSignal?: string;
  readonly stopTimeoutS?: number;
  readonly ulimits: readonly { readonly name: string; readonly soft: number; readonly hard: number }[];
  readonly sysctls: Readonly<Record<string, string>>;
  readonly shmSizeBytes?: number;
  readonly devices: readonly {
    readonly hostPath: string;
    readonly containerPath: string;
    readonly permissions: string;
  }[];
  readonly oomScoreAdj?: number;
  /** `--log-opt`; without it the log grows. */
  readonly logLimit?: LogLimit;
}

/** A mount as it is. */
export interface CtrMount {
  readonly type: MountWish['type'];
  /** The volume's name. */
  readonly name?: string;
  /** Path of the host; "" for tmpfs. */
  readonly source: string;
  readonly target: string;
  readonly isReadonly: boolean;
  readonly propagation: string;
  readonly options: readonly string[];
}

/** What a container is to run, from the options and the image. */
export interface CtrConfig {
  readonly args: readonly string[];
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly env: readonly string[];
  readonly user: string;
  readonly workingDir: string;
  readonly hostname: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly exposedPorts: readonly string[];
  /** "SIGTERM" */
  readonly stopSignal: string;
}

export type CtrStatus = 'created' | 'running' | 'paused' | 'restarting' | 'exited';

export interface CtrState {
  readonly status: CtrStatus;
  readonly pid: number;
  readonly exitCode: number;
  readonly isOomKilled: boolean;
  /** Why the last start failed. */
  readonly error: string;
  /** ISO 8601; "" before the first start or end. */
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly restartCount: number;
  /** Stopped by a user: no restart policy but "always" brings it back. */
  readonly isStopped: boolean;
}

/** A container of `tkadm ctr`; `container.json` in its directory. */
export interface CtrRecord {
  /** 64 hex digits. */
  readonly id: string;
  readonly name: string;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly imageId: string;
  readonly options: CtrOptions;
  readonly config: CtrConfig;
  readonly mounts: readonly CtrMount[];
  /** Topmost first; the first is the container's own init layer. */
  readonly lowerDirs: readonly string[];
  readonly networkMode: NetworkMode;
  readonly state: CtrState;
  /** Of the last start; exec begins from it. */
  readonly process?: OciProcess;
  /** While it runs with the bridge. */
  readonly network?: CtrAttachment | undefined;
}

/** What a running container has of the bridge. */
export interface CtrAttachment {
  readonly address: string;
  readonly gateway: string;
  readonly prefixLength: number;
  readonly mac: string;
  readonly ports: readonly PortBinding[];
}

/** Names of containers and volumes, as Docker's. */
export const NAME_PATTERN = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
