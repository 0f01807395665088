import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { formatError } from '../base/errors.ts';
import { KeyedLock } from '../base/keyed-lock.ts';
import type { Logger } from '../base/log.ts';
import { RecordStore } from '../base/record-store.ts';
import type { ContainerEngine } from '../container/engine.ts';
import type { StorageDriver } from '../image/container-files.ts';
import { loadInodes } from '../image/inodes.ts';
import type { ImageStore } from '../image/store.ts';
import { CtrBridge } from './ctr-bridge.ts';
import { createCtrHandlers } from './ctr-calls.ts';
import { type CtrContext, type CtrMounter, EventLog, ExitWaiters } from './ctr-context.ts';
import { followExits, recoverContainers } from './ctr-exits.ts';
import type { CtrRecord } from './ctr-record.ts';
import { serveCtr } from './ctr-socket.ts';
import { RestartTimers } from './restart-timers.ts';
import { VolumeStore } from './volume-store.ts';

export interface CtrServiceOptions {
  readonly socketPath: string;
  /** Containers, volumes and addresses are kept below it. */
  readonly root: string;
  /** Marks of what was set up since boot. */
  readonly runDir: string;
  /** The network interface of the bridge, and the name of its nftables table. */
  readonly bridgeName: string;
  readonly cgroupParent: string;
  readonly engine: ContainerEngine;
  readonly images: ImageStore;
  /** Of new containers. */
  readonly storageDriver: StorageDriver;
  readonly mounter: CtrMounter;
  readonly capabilities: readonly string[];
  /** "amd64", "arm64" */
  readonly architecture: string;
  readonly newId: () => string;
  readonly now: () => Date;
  readonly log: Logger;
}

export interface CtrService {
  /** Stops serving; containers go on. */
  close(): Promise<void>;
}

/**
 * Opens the containers of `tkadm ctr` over their directory, finds what an earlier service left, and serves the socket.
 * They live beside those of the CRI, in the same engine, and neither sees the other's.
 */
export async function createCtrService(options: CtrServiceOptions): Promise<CtrService> {
  const { root, log, now, newId } = options;
  await mkdir(root, { recursive: true, mode: 0o711 });
  const records = new RecordStore<CtrRecord>(join(root, 'containers'), 'container.json', { isSynced: true });
  const volumes = new VolumeStore({ root: join(root, 'volumes'), newId, now, log });
  await records.load(log, async (directory) => {
    try {
      options.mounter.unmount(join(directory, 'shm'));
    } catch {
      // It was not mounted.
    }
  });
  await volumes.load();
  const bridge = new CtrBridge({
    stateDir: join(root, 'network'),
    runDir: options.runDir,
    name: options.bridgeName,
    usedPorts: () => records.list().flatMap(({ network }) => network?.ports ?? []),
  });
  const context: CtrContext = {
    ...options,
    inodes: loadInodes(),
    records,
    volumes,
    bridge,
    events: new EventLog(),
    locks: new KeyedLock(),
    restarts: new RestartTimers(),
    exits: new ExitWaiters(),
  };
  const abort = new AbortController();
  followExits(context, abort.signal).catch((error: unknown) =>
    log.error('exits are no longer followed', { error: formatError(error) }),
  );
  await recoverContainers(context);
  const server = await serveCtr(options.socketPath, createCtrHandlers(context), log);
  return {
    async close() {
      abort.abort();
      context.restarts.close();
      await server.close();
    },
  };
}
