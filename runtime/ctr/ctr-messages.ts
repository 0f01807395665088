import type { CtrOptions, CtrRecord, ResourceWish, RestartPolicy } from './ctr-record.ts';

/** A container as the socket tells about it. */
export interface CtrSummary extends CtrRecord {
  /** "docker.io/library/busybox:latest", or the id when the image has no name any more. */
  readonly imageName: string;
}

/** Size of a terminal in characters. */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** Body of `start`. */
export interface StartRequest {
  readonly name: string;
  /** The call goes on with the container's streams and ends with it. */
  readonly isAttached: boolean;
  readonly hasInput?: boolean;
  readonly size?: TerminalSize | undefined;
}

/** Body of `attach`. */
export interface AttachRequest {
  readonly name: string;
  readonly hasInput: boolean;
  readonly size?: TerminalSize | undefined;
}

/** Body of `exec`. */
export interface ExecRequest {
  readonly name: string;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly user?: string | undefined;
  readonly workingDir?: string | undefined;
  readonly hasTerminal: boolean;
  readonly hasInput: boolean;
  readonly isPrivileged: boolean;
  readonly isDetached: boolean;
  readonly size?: TerminalSize | undefined;
}

/** Body of `logs`. Times are ISO 8601. */
export interface LogsRequest {
  readonly name: string;
  readonly isFollowing: boolean;
  readonly tailLines?: number | undefined;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
  readonly hasTimestamps: boolean;
}

/** Body of `commit`. */
export interface CommitRequest {
  readonly name: string;
  readonly image?: string | undefined;
  readonly author: string;
  readonly comment: string;
  /** Lines of a Dockerfile, "CMD [...]". */
  readonly changes: readonly string[];
  readonly pauses: boolean;
}

/** Body of `update`: what is absent stays. */
export interface UpdateRequest {
  readonly name: string;
  readonly resources: ResourceWish;
  readonly restart?: RestartPolicy | undefined;
}

/** Body of `import`; the input is the tar of a root file system, plain or compressed. */
export interface ImportRequest {
  readonly image?: string | undefined;
  readonly comment: string;
  /** Lines of a Dockerfile. */
  readonly changes: readonly string[];
}

/** How a container ended. */
export interface ExitResult {
  readonly exitCode: number;
}

/** One line of `diff`: added, changed or deleted. */
export interface DiffEntry {
  readonly kind: 'A' | 'C' | 'D';
  readonly path: string;
}

/** Figures of one moment. */
export interface StatsSample {
  readonly id: string;
  readonly name: string;
  /** ISO 8601. */
  readonly readAt: string;
  /** Since the container's start, nanoseconds. */
  readonly cpuNanos: number;
  readonly memoryBytes: number;
  /** 0 without a limit. */
  readonly memoryLimitBytes: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly pids: number;
}

/** A process for `top`. */
export interface ProcessRow {
  readonly uid: string;
  readonly pid: number;
  readonly parentPid: number;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly terminal: string;
  readonly cpuMs: number;
  readonly command: string;
}

/** A volume. */
export interface VolumeInfo {
  readonly name: string;
  readonly path: string;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Made for one container, without a name. */
  readonly isAnonymous: boolean;
  /** Names of the containers that have it. */
  readonly usedBy: readonly string[];
}

/** A network. */
export interface NetworkInfo {
  readonly name: string;
  readonly driver: 'bridge' | 'host' | 'null';
  /** "172.30.0.0/16", gateway and interface of the bridge, once it is in use. */
  readonly subnet?: string | undefined;
  readonly gateway?: string | undefined;
  readonly interfaceName?: string | undefined;
  readonly containers: readonly {
    readonly id: string;
    readonly name: string;
    readonly address: string;
    readonly mac: string;
  }[];
}

/** Something that happened. */
export interface CtrEvent {
  readonly type: 'container' | 'volume' | 'network';
  /** "create", "start", "die", ... */
  readonly action: string;
  readonly id: string;
  readonly attributes: Readonly<Record<string, string>>;
  /** ISO 8601. */
  readonly time: string;
}

/** What `copyOut` copies. */
export interface CopyOutOptions {
  readonly path: string;
  readonly followsLink: boolean;
  /** The name in the tar; "" for the files of a directory without itself. */
  readonly asName: string;
  /** Owners stay; they are root otherwise. */
  readonly keepsOwner: boolean;
}

/** What a path of a container is. */
export interface PathInfo {
  readonly isDirectory: boolean;
}

/** What the service is. */
export interface CtrInfo {
  readonly version: string;
  readonly root: string;
  readonly containers: number;
  readonly running: number;
  readonly paused: number;
  readonly stopped: number;
  readonly images: number;
  readonly cgroupVersion: number;
}

/** What of the disk is in use; bytes. */
export interface DiskUsage {
  readonly imagesBytes: number;
  readonly containers: readonly { readonly id: string; readonly name: string; readonly bytes: number }[];
  readonly volumes: readonly { readonly name: string; readonly bytes: number; readonly isUsed: boolean }[];
}

interface Named {
  readonly name: string;
}

/** The calls of the ctr socket: the request's body, what is told on the way, and the result. */
export interface CtrCalls {
  readonly create: { body: CtrOptions; note: never; result: { readonly id: string } };
  readonly start: { body: StartRequest; note: never; result: ExitResult | null };
  readonly attach: { body: AttachRequest; note: never; result: ExitResult };
  readonly exec: { body: ExecRequest; note: never; result: ExitResult | null };
  readonly list: { body: Record<string, never>; note: never; result: readonly CtrSummary[] };
  readonly inspect: { body: Named; note: never; result: CtrSummary };
  readonly logs: { body: LogsRequest; note: never; result: null };
  readonly stop: {
    body: Named & { readonly timeoutS?: number | undefined; readonly signal?: string | undefined };
    note: never;
    result: null;
  };
  readonly restart: {
    body: Named & { readonly timeoutS?: number | undefined; readonly signal?: string | undefined };
    note: never;
    result: null;
  };
  readonly kill: { body: Named & { readonly signal: string }; note: never; result: null };
  readonly remove: {
    body: Named & { readonly isForced: boolean; readonly removesVolumes: boolean };
    note: never;
    result: null;
  };
  readonly pause: { body: Named; note: never; result: null };
  readonly unpause: { body: Named; note: never; result: null };
  readonly rename: { body: Named & { readonly newName: string }; note: never; result: null };
  readonly wait: { body: Named; note: never; result: ExitResult };
  readonly commit: { body: CommitRequest; note: never; result: { readonly id: string } };
  readonly update: { body: UpdateRequest; note: never; result: null };
  /** The files of a container, without what is mounted, as a tar on standard output. */
  readonly export: { body: Named; note: never; result: null };
  readonly import: { body: ImportRequest; note: never; result: { readonly id: string } };
  readonly diff: { body: Named; note: never; result: readonly DiffEntry[] };
  /** The files of a path as a tar on standard output. */
  readonly copyOut: { body: Named & CopyOutOptions; note: never; result: PathInfo };
  /** The input is a tar, unpacked into a directory. */
  readonly copyIn: {
    body: Named & { readonly directory: string };
    note: never;
    result: null;
  };
  /** What is at a path; null when nothing is. */
  readonly statPath: { body: Named & { readonly path: string }; note: never; result: PathInfo | null };
  readonly stats: {
    body: { readonly names: readonly string[]; readonly isStreamed: boolean; readonly isAll: boolean };
    note: readonly StatsSample[];
    result: null;
  };
  readonly top: { body: Named; note: never; result: readonly ProcessRow[] };
  readonly events: {
    body: {
      readonly since?: string | undefined;
      /** Events up to then; for ever without. */
      readonly until?: string | undefined;
    };
    note: CtrEvent;
    result: null;
  };
  readonly volumeCreate: {
    body: { readonly name?: string | undefined; readonly labels: Readonly<Record<string, string>> };
    note: never;
    result: VolumeInfo;
  };
  readonly volumeList: { body: Record<string, never>; note: never; result: readonly VolumeInfo[] };
  readonly volumeRemove: { body: Named & { readonly isForced: boolean }; note: never; result: null };
  readonly networkList: { body: Record<string, never>; note: never; result: readonly NetworkInfo[] };
  readonly diskUsage: { body: Record<string, never>; note: never; result: DiskUsage };
  readonly info: { body: Record<string, never>; note: never; result: CtrInfo };
  /** Kills and removes all containers and gives their addresses and rules back; for reset. */
  readonly removeAll: { body: Record<string, never>; note: never; result: { readonly count: number } };
  /** Stops all containers, as a stop of Docker's daemon does: policies bring them back at the next start. */
  readonly stopAll: { body: Record<string, never>; note: never; result: { readonly count: number } };
}

export type CtrCall = keyof CtrCalls;
export type CtrBody<C extends CtrCall> = CtrCalls[C]['body'];
export type CtrNote<C extends CtrCall> = CtrCalls[C]['note'];
export type CtrResult<C extends CtrCall> = CtrCalls[C]['result'];

/** First frame of a connection. */
export interface CtrRequest {
  readonly call: CtrCall;
  readonly body: unknown;
}

/** Payload of an error frame. */
export interface CtrErrorPayload {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  readonly details?: Readonly<Record<string, unknown>>;
}
