import type { Inodes } from '../inodes.ts';
import type { ImagePuller } from '../puller.ts';
import type { ImageStore } from '../store.ts';

/** One RUN: a command over the layers so far, its changes in `upperDir`. */
export interface StepCommand {
  /** Topmost first. */
  readonly lowerDirs: readonly string[];
  readonly upperDir: string;
  readonly workDir: string;
  readonly args: readonly string[];
  /** "NAME=value", without HOME and HOSTNAME. */
  readonly env: readonly string[];
  readonly cwd: string;
  /** "user[:group]" as the image has it. */
  readonly user: string | undefined;
  readonly onOutput: (text: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Runs a step in a container; resolves to its exit code. */
export type StepRunner = (command: StepCommand) => Promise<number>;

export interface BuildOptions {
  readonly store: ImageStore;
  readonly puller: ImagePuller;
  readonly inodes: Inodes;
  readonly runStep: StepRunner;
  /** Directory for what steps change, on the store's file system. */
  readonly workDir: string;
  /** Directory that remembers which layer a step made. */
  readonly cacheDir: string;
  readonly contextDir: string;
  /** The Dockerfile's text. */
  readonly dockerfile: string;
  readonly tags: readonly string[];
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly target?: string | undefined;
  readonly usesCache: boolean;
  /** "amd64", "arm64" */
  readonly architecture: string;
  readonly now: () => Date;
  readonly onProgress: (line: string) => void;
  readonly signal?: AbortSignal | undefined;
}
