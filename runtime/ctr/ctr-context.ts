import { join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import { EventHub } from '../base/event-hub.ts';
import type { KeyedLock } from '../base/keyed-lock.ts';
import type { Logger } from '../base/log.ts';
import type { RecordStore } from '../base/record-store.ts';
import type { ContainerEngine } from '../container/engine.ts';
import type { ContainerFiles, StorageDriver } from '../image/container-files.ts';
import type { Inodes } from '../image/inodes.ts';
import type { ImageStore } from '../image/store.ts';
import type { CtrBridge } from './ctr-bridge.ts';
import type { CtrEvent } from './ctr-messages.ts';
import type { CtrRecord, CtrState } from './ctr-record.ts';
import type { RestartTimers } from './restart-timers.ts';
import type { VolumeStore } from './volume-store.ts';

/** mount(2) and umount2(2) for shared memory that several containers use. */
export interface CtrMounter {
  mount(source: string, target: string, type: string, flags: number, data: string): void;
  /** Lazy, MNT_DETACH. */
  unmount(target: string): void;
}

/** What the parts of the service share. */
export interface CtrContext {
  readonly engine: ContainerEngine;
  readonly images: ImageStore;
  readonly inodes: Inodes;
  /** Of new containers. */
  readonly storageDriver: StorageDriver;
  readonly records: RecordStore<CtrRecord>;
  readonly volumes: VolumeStore;
  readonly bridge: CtrBridge;
  readonly events: EventLog;
  /** By container id. */
  readonly locks: KeyedLock;
  readonly restarts: RestartTimers;
  readonly exits: ExitWaiters;
  readonly mounter: CtrMounter;
  /** Capabilities that this process has and can hand on. */
  readonly capabilities: readonly string[];
  /** Below this cgroup the containers are, "/tkadm/ctr". */
  readonly cgroupParent: string;
  /** "amd64", "arm64" */
  readonly architecture: string;
  readonly root: string;
  /** 64 hex digits. */
  readonly newId: () => string;
  readonly now: () => Date;
  readonly log: Logger;
}

/** The engine knows containers of several services: these are its names for ours. */
const ENGINE_PREFIX = 'ctr-';

export function engineId(id: string): string {
  return `${ENGINE_PREFIX}${id}`;
}

/** True for a container of the engine that belongs to `tkadm ctr`. */
export function isCtrEngineId(id: string): boolean {
  return id.startsWith(ENGINE_PREFIX);
}

export function recordIdOf(engineContainerId: string): string {
  return engineContainerId.slice(ENGINE_PREFIX.length);
}

/** Files of a container besides its record. */
export function containerPaths(context: Pick<CtrContext, 'records'>, id: string) {
  const directory = context.records.directory(id);
  return {
    directory,
    upper: join(directory, 'upper'),
    work: join(directory, 'work'),
    init: join(directory, 'init'),
    shm: join(directory, 'shm'),
    hosts: join(directory, 'hosts'),
    hostname: join(directory, 'hostname'),
    resolvConf: join(directory, 'resolv.conf'),
    log: join(directory, 'container.log'),
  } as const;
}

/** Its own files and the layers below. */
export function containerFiles(
  context: Pick<CtrContext, 'records'>,
  { id, lowerDirs }: Pick<CtrRecord, 'id' | 'lowerDirs'>,
): ContainerFiles {
  const { upper, work } = containerPaths(context, id);
  return { lowerDirs, upperDir: upper, workDir: work };
}

/**
 * The container of a name, an id or the beginning of one.
 * @throws CTR_NOT_FOUND, CTR_AMBIGUOUS
 */
export function getContainer(context: Pick<CtrContext, 'records'>, text: string): CtrRecord {
  const all = context.records.list();
  const name = text.replace(/^\//, '');
  const exact = all.find((record) => record.id === name) ?? all.find((record) => record.name === name);
  if (exact !== undefined) return exact;
  const matches = name === '' ? [] : all.filter((record) => record.id.startsWith(name));
  if (matches.length === 1) return matches[0]!;
  if (matches.length === 0) {
    throw new TkadmError('CTR_NOT_FOUND', `Cannot find container "${text}": no such container`);
  }
  throw new TkadmError(
    'CTR_AMBIGUOUS',
    `Cannot find container "${text}": ${matches.length} ids begin with it`,
    { hint: 'tkadm ctr ps -a --no-trunc' },
  );
}

/** The record as it is now. @throws CTR_NOT_FOUND when it was removed meanwhile. */
export function latest(context: Pick<CtrContext, 'records'>, id: string): CtrRecord {
  const record = context.records.get(id);
  if (record !== undefined) return record;
  throw new TkadmError('CTR_NOT_FOUND', `Cannot find container "${id}": it was removed meanwhile`);
}

/** Changes a container's state on disk. */
export async function updateState(
  context: Pick<CtrContext, 'records'>,
  id: string,
  change: Partial<CtrState>,
  others: Partial<Pick<CtrRecord, 'process' | 'network' | 'name'>> = {},
): Promise<CtrRecord> {
  const record = latest(context, id);
  const next = { ...record, ...others, state: { ...record.state, ...change } };
  await context.records.put(next);
  return next;
}

/** Those that wait for the end of a container's run. */
export class ExitWaiters {
  readonly #waiters = new Map<string, ((exitCode: number) => void)[]>();

  /** The exit code of the present run, once all is put away. */
  next(id: string): Promise<number> {
    return new Promise((resolve) => {
      this.#waiters.set(id, [...(this.#waiters.get(id) ?? []), resolve]);
    });
  }

  resolve(id: string, exitCode: number): void {
    const waiting = this.#waiters.get(id) ?? [];
    this.#waiters.delete(id);
    for (const resolve of waiting) resolve(exitCode);
  }
}

const MAX_EVENTS = 1000;

/** What happened lately, and what happens. */
export class EventLog {
  readonly #hub = new EventHub<CtrEvent>();
  #recent: readonly CtrEvent[] = [];

  publish(event: CtrEvent): void {
    this.#recent = [...this.#recent, event].slice(-MAX_EVENTS);
    this.#hub.publish(event);
  }

  /** The last thousand events since the service was started. */
  recent(): readonly CtrEvent[] {
    return this.#recent;
  }

  subscribe(signal: AbortSignal): AsyncGenerator<CtrEvent> {
    return this.#hub.subscribe(signal);
  }
}

/** Tells of something that a container did or that was done to it. */
export function publishContainer(
  context: Pick<CtrContext, 'events' | 'now'>,
  record: CtrRecord,
  action: string,
  attributes: Readonly<Record<string, string>> = {},
): void {
  context.events.publish({
    type: 'container',
    action,
    id: record.id,
    attributes: { ...record.config.labels, image: record.options.image, name: record.name, ...attributes },
    time: context.now().toISOString(),
  });
}
