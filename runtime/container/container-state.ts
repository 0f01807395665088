import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SLOT_FILES } from './launch-bundle.ts';
import type { LogLimit } from './log-writer.ts';

/** What the engine keeps of a container in its directory, `state.json`. Times are ISO 8601. */
export interface StoredContainer {
  readonly id: string;
  readonly createdAt: string;
  readonly startedAt?: string;
  readonly finishedAt?: string;
  readonly exitCode?: number;
  readonly isOomKilled?: boolean;
  readonly pid: number;
  /** Start times guard against pids that were used again. */
  readonly pidStart: string;
  readonly monitorPid: number;
  readonly monitorStart: string;
  /** Where the records of the start lie in the performer's program. */
  readonly startAddress: number;
  /** The runtime that made it, when it was not the engine. */
  readonly runtimePath?: string;
  readonly cgroupPath?: string;
  /** systemd made the cgroup, for a scope. */
  readonly isScope?: boolean;
  readonly logPath?: string;
  readonly logLimit?: LogLimit;
  readonly terminal: boolean;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  readonly hasOwnPidNamespace: boolean;
  /** The process has the streams of the engine's own process (`tkadm-oci create`), nothing is read here. */
  readonly hasInheritedStreams: boolean;
  /** Nobody of ours waits for the process: whether it lives is looked up, and its exit code is not known. */
  readonly isReapedByCaller?: boolean;
  /** How many descriptors beside the standard streams were handed on. */
  readonly preservedCount?: number;
  readonly bundle?: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Writes `state.json`; a reader sees the old content or the new. */
export function writeState(directory: string, state: StoredContainer): void {
  const path = join(directory, SLOT_FILES.state);
  writeFileSync(`${path}.tmp`, JSON.stringify(state), { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}

/** The state in a container's directory; undefined when its creation was not finished. */
export function readState(directory: string): StoredContainer | undefined {
  try {
    return JSON.parse(readFileSync(join(directory, SLOT_FILES.state), 'utf8')) as StoredContainer;
  } catch {
    return undefined;
  }
}

/** The names in a directory; [] when it is not there. */
export function listDirectory(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
