import type { OciProcess } from '../container/oci-spec.ts';
import type { CniAttachment } from './cni.ts';
import type { ContainerConfig } from './messages/container.ts';
import type { PodSandboxConfig } from './messages/sandbox.ts';
import type { Signal } from './messages/signal.ts';

/** What the runtime knows of a sandbox; `sandbox.json` in its directory. */
export interface SandboxRecord {
  readonly id: string;
  readonly config: PodSandboxConfig;
  readonly runtimeHandler: string;
  /** Nanoseconds since 1970, as text. */
  readonly createdAt: string;
  /** False until everything was set up, and again once it was stopped. */
  readonly isReady: boolean;
  /** Until RunPodSandbox has answered. */
  readonly isHalfMade?: boolean | undefined;
  /** What CNI gave; absent with the host's network and after the release. */
  readonly network?: CniAttachment | undefined;
}

/** How a container ended; times in nanoseconds since 1970, as text. */
export interface ContainerEnd {
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly exitCode: number;
  readonly isOomKilled: boolean;
  /** Set when it never ran or nobody saw its end. */
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
}

/** What the runtime knows of a container; `container.json` in its directory. */
export interface ContainerRecord {
  readonly id: string;
  readonly sandboxId: string;
  readonly config: ContainerConfig;
  readonly imageId: string;
  readonly imageName: string;
  readonly imageRef: string;
  readonly createdAt: string;
  readonly logPath: string;
  /** The first process; exec starts from it. */
  readonly process: OciProcess;
  readonly stopSignal: Signal;
  readonly lowerDirs: readonly string[];
  /** Of each image volume. */
  readonly volumeLayers?: readonly (readonly string[])[] | undefined;
  readonly end?: ContainerEnd | undefined;
}
