import { TkadmError } from '../base/errors.ts';
import type { EventHub } from '../base/event-hub.ts';
import type { KeyedLock } from '../base/keyed-lock.ts';
import type { Logger } from '../base/log.ts';
import type { RecordStore } from '../base/record-store.ts';
import type { ContainerEngine } from '../container/engine.ts';
import type { StorageDriver } from '../image/container-files.ts';
import type { Inodes } from '../image/inodes.ts';
import type { ImagePuller } from '../image/puller.ts';
import type { ImageStore } from '../image/store.ts';
import type { Cni } from './cni.ts';
import type { KernelSecurity } from './kernel-security.ts';
import type { ContainerEventType } from './messages/runtime.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';
import type { RuntimeHandler } from './runtime-handlers.ts';

/** mount(2) and umount2(2) for the sandboxes' shared memory. */
export interface Mounter {
  mount(source: string, target: string, type: string, flags: number, data: string): void;
  /** Lazy, MNT_DETACH. */
  unmount(target: string): void;
}

export interface ContainerEvent {
  readonly type: ContainerEventType;
  readonly containerId: string;
  readonly sandboxId: string;
  readonly createdAt: bigint;
}

/** What the CRI services share. */
export interface RuntimeContext {
  readonly engine: ContainerEngine;
  readonly images: ImageStore;
  /** Brings images that are not in the store. */
  readonly puller: ImagePuller;
  readonly cni: Cni;
  readonly sandboxes: RecordStore<SandboxRecord>;
  readonly containers: RecordStore<ContainerRecord>;
  readonly events: EventHub<ContainerEvent>;
  readonly locks: KeyedLock;
  readonly mounter: Mounter;
  readonly inodes: Inodes;
  /** Of new containers. */
  readonly storageDriver: StorageDriver;
  readonly kernel: KernelSecurity;
  /** The default one, and those that RuntimeClass can name. */
  readonly handlers: readonly RuntimeHandler[];
  /** Where CDI specs are; the later wins. */
  readonly cdiDirs: readonly string[];
  /** Capabilities that this process has and can hand on. */
  readonly capabilities: readonly string[];
  /** 64 hex digits. */
  readonly newId: () => string;
  readonly now: () => Date;
  readonly log: Logger;
}

/** Nanoseconds since 1970. */
export function toNanos(time: Date): bigint {
  return BigInt(time.getTime()) * 1_000_000n;
}

/** @throws CRI_NOT_FOUND */
export function getSandbox(context: RuntimeContext, id: string): SandboxRecord {
  const record = context.sandboxes.find(id);
  if (record === undefined) throw new TkadmError('CRI_NOT_FOUND', `Cannot find sandbox "${id}"`);
  return record;
}

/** @throws CRI_NOT_FOUND */
export function getContainer(context: RuntimeContext, id: string): ContainerRecord {
  const record = context.containers.find(id);
  if (record === undefined) throw new TkadmError('CRI_NOT_FOUND', `Cannot find container "${id}"`);
  return record;
}

/** True when every label of the selector is there with its value. */
export function matchesLabels(
  labels: Readonly<Record<string, string>>,
  selector: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(selector).every(([name, value]) => labels[name] === value);
}

/** CRI's `info` of a verbose answer: one entry with JSON. */
export function verboseInfo(isVerbose: boolean, value: () => object): Readonly<Record<string, string>> {
  return isVerbose ? { info: JSON.stringify(value()) } : {};
}

export function publishEvent(
  context: RuntimeContext,
  type: ContainerEventType,
  containerId: string,
  sandboxId: string,
): void {
  context.events.publish({ type, containerId, sandboxId, createdAt: toNanos(context.now()) });
}
