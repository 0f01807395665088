import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../base/log.ts';
import { type CriClient, criErrorCode } from '../cri/client.ts';
import type { RuntimeReader } from './runtime-state.ts';
import { tearDownVolumes } from './volumes/volumes.ts';

export interface OrphanOptions {
  readonly cri: CriClient;
  readonly reader: RuntimeReader;
  /** True for a pod that some worker owns. */
  readonly isOwned: (uid: string) => boolean;
  readonly rootDir: string;
  readonly podLogsDir: string;
  readonly log: Logger;
}

/** Removes pods that the runtime or the disk has and no source knows: deleted while the agent was away. */
export class OrphanCollector {
  readonly #options: OrphanOptions;
  readonly #busy = new Set<string>();

  constructor(options: OrphanOptions) {
    this.#options = options;
  }

  /** To be called only when all sources have told their pods. */
  async collect(runtimeUids: ReadonlySet<string>): Promise<void> {
    const { rootDir, isOwned, log } = this.#options;
    const onDisk = await readdir(join(rootDir, 'pods')).catch(() => []);
    const candidates = [...new Set([...runtimeUids, ...onDisk])].filter(
      (uid) => !isOwned(uid) && !this.#busy.has(uid),
    );
    await Promise.all(
      candidates.map(async (uid) => {
        this.#busy.add(uid);
        try {
          await this.#remove(uid);
        } catch (error) {
          log.warn(`Cannot remove orphaned pod "${uid}": ${(error as Error).message}`);
        } finally {
          this.#busy.delete(uid);
        }
      }),
    );
  }

  async #remove(uid: string): Promise<void> {
    const { cri, reader, rootDir, podLogsDir, log } = this.#options;
    const state = await reader.readPod(uid);
    log.info('Removing an orphaned pod', { uid, pod: state.name });
    await Promise.all(
      state.containers
        .filter((container) => container.state === 'running')
        .map(({ id, gracePeriodSeconds }) =>
          cri.stopContainer({ containerId: id, timeout: gracePeriodSeconds }),
        ),
    );
    for (const { id } of state.sandboxes) {
      try {
        await cri.stopPodSandbox({ podSandboxId: id });
        await cri.removePodSandbox({ podSandboxId: id });
      } catch (error) {
        if (criErrorCode(error) !== 'NOT_FOUND') throw error;
      }
    }
    const pod = join(rootDir, 'pods', uid);
    await tearDownVolumes({ pod, hosts: join(pod, 'etc-hosts'), volumes: join(pod, 'volumes'), logs: '' });
    if (state.name !== '') {
      await rm(join(podLogsDir, `${state.namespace}_${state.name}_${uid}`), { recursive: true, force: true });
    }
  }
}
