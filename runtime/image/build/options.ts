import type { ContainerFiles, StorageDriver } from '../container-files.ts';
import type { Inodes } from '../inodes.ts';
import type { ImagePuller } from '../puller.ts';
import type { ImageStore } from '../store.ts';
import type { BuildCache } from './cache.ts';
import type { CacheLocks } from './step-mounts.ts';

/** One RUN: a command over the layers so far, its changes in `files`. */
export interface StepCommand {
  readonly files: ContainerFiles;
  readonly args: readonly string[];
  /** "NAME=value", without HOME and HOSTNAME. */
  readonly env: readonly string[];
  readonly cwd: string;
  /** "user[:group]" as the image has it. */
  readonly user: string | undefined;
  readonly mounts: readonly StepMount[];
  /** The host's network, or none. */
  readonly hasNetwork: boolean;
  readonly onOutput: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** A mount of a RUN besides those that every container has. */
export interface StepMount {
  /** Absolute, inside the container. */
  readonly destination: string;
  readonly type: 'bind' | 'tmpfs' | 'overlay';
  readonly source: string;
  readonly options: readonly string[];
}

/** Runs a step in a container; resolves to its exit code. */
export type StepRunner = (command: StepCommand) => Promise<number>;

export interface BuildOptions {
  readonly store: ImageStore;
  readonly puller: ImagePuller;
  readonly inodes: Inodes;
  readonly storageDriver: StorageDriver;
  readonly runStep: StepRunner;
  /** Directory for what steps change, on the store's file system. */
  readonly workDir: string;
  /** Remembers which layer a step made. */
  readonly cache: BuildCache;
  /** Directory of `RUN --mount=type=cache`; kept between builds. */
  readonly mountCacheDir: string;
  /** Directory in memory for secrets while a step runs. */
  readonly secretsDir: string;
  readonly cacheLocks: CacheLocks;
  /** Secrets by id, for `RUN --mount=type=secret`. */
  readonly secrets: Readonly<Record<string, Buffer>>;
  readonly contextDir: string;
  /** The text of the file with exclusions; undefined for the context's own. */
  readonly ignoreFile?: string | undefined;
  /** The Dockerfile's text. */
  readonly dockerfile: string;
  readonly tags: readonly string[];
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly target?: string | undefined;
  readonly usesCache: boolean;
  /** The registry is asked for base images even when they are in the store. */
  readonly pullsAlways: boolean;
  /** "amd64", "arm64" */
  readonly architecture: string;
  readonly now: () => Date;
  readonly onProgress: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}
