import type { OciIdMapping } from './id-mappings.ts';
import type { OciSeccomp } from './seccomp/oci-seccomp.ts';

/** The parts of the OCI runtime-spec 1.2 `config.json` that tkadm supports (config.md, config-linux.md). */
export interface OciSpec {
  readonly ociVersion: string;
  readonly process?: OciProcess;
  readonly root?: { readonly path: string; readonly readonly?: boolean };
  readonly hostname?: string;
  readonly domainname?: string;
  readonly mounts?: readonly OciMount[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly linux?: OciLinux;
}

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
  readonly memory?: {
    readonly limit?: number;
    readonly reservation?: number;
    readonly swap?: number;
  };
  readonly cpu?: {
    readonly shares?: number;
    readonly quota?: number;
    readonly period?: number;
    readonly cpus?: string;
    readonly mems?: string;
  };
  readonly pids?: { readonly limit: number };
  readonly hugepageLimits?: readonly { readonly pageSize: string; readonly limit: number }[];
  /** cgroup v2 only: file name → value. */
  readonly unified?: Readonly<Record<string, string>>;
}
