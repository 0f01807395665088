import type { OciIdMapping } from './id-mappings.ts';
import type { OciSeccomp } from './seccomp/oci-seccomp.ts';

/** The version of the runtime-spec that is followed. */
export const OCI_VERSION = '1.2.0';

/** The parts of the OCI runtime-spec 1.2 `config.json` that tkadm supports (config.md, config-linux.md). */
export interface OciSpec {
  readonly ociVersion: string;
  readonly process?: OciProcess;
  readonly root?: { readonly path: string; readonly readonly?: boolean };
  readonly hostname?: string;
  readonly domainname?: string;
  readonly mounts?: readonly OciMount[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly hooks?: OciHooks;
  readonly linux?: OciLinux;
}

export interface OciHook {
  /** Absolute. */
  readonly path: string;
  /** argv, the name included. */
  readonly args?: readonly string[];
  readonly env?: readonly string[];
  /** Seconds. */
  readonly timeout?: number;
}

export type OciHooks = Readonly<
  Partial<
    Record<
      'prestart' | 'createRuntime' | 'createContainer' | 'startContainer' | 'poststart' | 'poststop',
      readonly OciHook[]
    >
  >
>;

export interface OciProcess {
  readonly terminal?: boolean;
  readonly consoleSize?: { readonly height: number; readonly width: number };
  readonly user?: {
    readonly uid: number;
    readonly gid: number;
    readonly additionalGids?: readonly number[];
    readonly umask?: number;
  };
  readonly args: readonly string[];
  /** "NAME=value" */
  readonly env?: readonly string[];
  readonly cwd: string;
  readonly capabilities?: {
    readonly bounding?: readonly string[];
    readonly effective?: readonly string[];
    readonly inheritable?: readonly string[];
    readonly permitted?: readonly string[];
    readonly ambient?: readonly string[];
  };
  readonly rlimits?: readonly { readonly type: string; readonly soft: number; readonly hard: number }[];
  readonly noNewPrivileges?: boolean;
  readonly oomScoreAdj?: number;
  readonly apparmorProfile?: string;
  readonly selinuxLabel?: string;
  /** The CPUs of a process that joins a container: before it is in the container's cgroup, and then. */
  readonly execCPUAffinity?: { readonly initial?: string; readonly final?: string };
  /** sched_setattr(2) */
  readonly scheduler?: {
    /** "SCHED_BATCH" */
    readonly policy: string;
    readonly nice?: number;
    readonly priority?: number;
    readonly flags?: readonly string[];
    /** Nanoseconds. */
    readonly runtime?: number;
    readonly deadline?: number;
    readonly period?: number;
  };
  /** ioprio_set(2) */
  readonly ioPriority?: { readonly class: string; readonly priority: number };
}

export interface OciMount {
  readonly destination: string;
  readonly type?: string;
  readonly source?: string;
  /** fstab-style, "rbind", "ro", "nosuid", "rslave", "size=64m", ... */
  readonly options?: readonly string[];
  /** Ids of the source → ids at the destination; both or none. */
  readonly uidMappings?: readonly OciIdMapping[];
  readonly gidMappings?: readonly OciIdMapping[];
}

export type OciNamespaceType = 'pid' | 'network' | 'mount' | 'ipc' | 'uts' | 'user' | 'cgroup' | 'time';

export interface OciLinux {
  /** Without `path` a new namespace; with it, the one at that path is joined. A type not listed stays the host's. */
  readonly namespaces?: readonly { readonly type: OciNamespaceType; readonly path?: string }[];
  /** Of a new user namespace; with one that is joined, what its maps are. */
  readonly uidMappings?: readonly OciIdMapping[];
  readonly gidMappings?: readonly OciIdMapping[];
  /** Of a new time namespace: "monotonic", "boottime". */
  readonly timeOffsets?: Readonly<Record<string, { readonly secs?: number; readonly nanosecs?: number }>>;
  /** Below each controller's mount, "/kubepods/burstable/podUID/ID". */
  readonly cgroupsPath?: string;
  readonly resources?: OciResources;
  readonly devices?: readonly {
    readonly path: string;
    readonly type: 'c' | 'b' | 'u' | 'p';
    readonly major: number;
    readonly minor: number;
    readonly fileMode?: number;
    readonly uid?: number;
    readonly gid?: number;
  }[];
  readonly sysctl?: Readonly<Record<string, string>>;
  readonly maskedPaths?: readonly string[];
  readonly readonlyPaths?: readonly string[];
  readonly rootfsPropagation?: string;
  /** SELinux context of the file systems that are made. */
  readonly mountLabel?: string;
  /** personality(2) */
  readonly personality?: { readonly domain: 'LINUX' | 'LINUX32'; readonly flags?: readonly string[] };
  readonly seccomp?: OciSeccomp;
}

export interface OciResources {
  readonly devices?: readonly {
    readonly allow: boolean;
    readonly type?: string;
    readonly major?: number;
    readonly minor?: number;
    readonly access?: string;
  }[];
  /** Bytes; -1 for no limit. */
  readonly memory?: {
    readonly limit?: number;
    readonly reservation?: number;
    readonly swap?: number;
    readonly kernel?: number;
    readonly kernelTCP?: number;
    readonly swappiness?: number;
    readonly disableOOMKiller?: boolean;
    readonly useHierarchy?: boolean;
    readonly checkBeforeUpdate?: boolean;
  };
  /** Times in microseconds. */
  readonly cpu?: {
    readonly shares?: number;
    readonly quota?: number;
    readonly burst?: number;
    readonly period?: number;
    readonly realtimeRuntime?: number;
    readonly realtimePeriod?: number;
    readonly cpus?: string;
    readonly mems?: string;
    readonly idle?: number;
  };
  readonly blockIO?: OciBlockIo;
  readonly network?: {
    readonly classID?: number;
    readonly priorities?: readonly { readonly name: string; readonly priority: number }[];
  };
  readonly rdma?: Readonly<Record<string, { readonly hcaHandles?: number; readonly hcaObjects?: number }>>;
  readonly pids?: { readonly limit: number };
  readonly hugepageLimits?: readonly { readonly pageSize: string; readonly limit: number }[];
  /** cgroup v2 only: file name → value. */
  readonly unified?: Readonly<Record<string, string>>;
}

export interface OciBlockIo {
  readonly weight?: number;
  readonly leafWeight?: number;
  readonly weightDevice?: readonly {
    readonly major: number;
    readonly minor: number;
    readonly weight?: number;
    readonly leafWeight?: number;
  }[];
  readonly throttleReadBpsDevice?: readonly OciDeviceRate[];
  readonly throttleWriteBpsDevice?: readonly OciDeviceRate[];
  readonly throttleReadIOPSDevice?: readonly OciDeviceRate[];
  readonly throttleWriteIOPSDevice?: readonly OciDeviceRate[];
}

export interface OciDeviceRate {
  readonly major: number;
  readonly minor: number;
  readonly rate: number;
}
