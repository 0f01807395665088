import type { Logger } from '../../base/log.ts';
import type { ContainerStats, ResourceUpdate } from '../engine.ts';
import type { Libc } from '../libc.ts';
import type { CgroupHost } from './cgroup-host.ts';
import type { CgroupUsage } from './cgroup-usage.ts';

/** What cgroups are opened with. */
export interface CgroupContext {
  readonly host: CgroupHost;
  readonly libc: Libc;
  readonly log: Logger;
  /** Processes join cgroup v2 as well when v1 has the controllers: systemd looks for them there. */
  readonly hasUnified?: boolean;
}

/** The container's cgroup directories. */
export interface Cgroup {
  /** Path below each controller's mount. */
  readonly path: string;
  /** Makes the directories with these limits; what it resolves with is called once the container has joined. */
  create(resources: ResourceUpdate | undefined): Promise<() => void>;
  update(resources: ResourceUpdate): Promise<void>;
  /** Files that a process writes "0" to in order to join. */
  readonly joinFiles: readonly string[];
  /** The same for directories below, see LaunchTraits.cgroups. @throws FLAG_INVALID */
  joinFilesBelow(places: readonly string[]): readonly string[];
  pids(): readonly number[];
  freeze(isFrozen: boolean): Promise<void>;
  isFrozen(): boolean;
  isOomKilled(): boolean;
  /** How many of its processes the kernel has killed for memory. */
  oomKills(): number;
  /** Signals every process. */
  kill(signal: NodeJS.Signals): void;
  /** Usage and limits as runc's `events` prints them. */
  usage(): CgroupUsage;
  stats(): ContainerStats | undefined;
  /** Kills what is left, then removes the directories. @throws CGROUP_BUSY after one second. */
  remove(): Promise<void>;
}
