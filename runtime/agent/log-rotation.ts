import { createReadStream, createWriteStream } from 'node:fs';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { Logger } from '../base/log.ts';
import { sleep } from '../base/time.ts';
import type { CriClient } from '../cri/client.ts';
import type { KubeletConfig } from './kubelet-config.ts';
import type { PodManager } from './pod-manager.ts';

export interface LogRotationOptions {
  readonly cri: CriClient;
  readonly manager: PodManager;
  readonly config: KubeletConfig;
  readonly now: () => number;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const CHECK_MS = 10_000;

/** Keeps container logs at containerLogMaxSize x containerLogMaxFiles: "0.log", "0.log.20261121-071918", older ones ".gz". */
export async function rotateLogs(options: LogRotationOptions): Promise<void> {
  const { manager, log, signal } = options;
  while (!signal.aborted) {
    for (const worker of manager.workers()) {
      for (const container of worker.state?.containers ?? []) {
        if (container.state !== 'running' || container.logPath === '') continue;
        await rotateIfLarge(container, options).catch((error: Error) =>
          log.warn(`Cannot rotate log "${container.logPath}": ${error.message}`),
        );
      }
    }
    await sleep(CHECK_MS, signal).catch(() => {});
  }
}

async function rotateIfLarge(
  container: { readonly id: string; readonly logPath: string },
  { cri, config, now }: LogRotationOptions,
): Promise<void> {
  const { size } = await stat(container.logPath).catch(() => ({ size: 0 }));
  if (size < config.containerLogMaxBytes) return;
  await prepareOld(container.logPath, config.containerLogMaxFiles);
  const stamp = new Date(now()).toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
  const rotated = `${container.logPath}.${stamp}`;
  await rename(container.logPath, rotated);
  try {
    await cri.reopenContainerLog({ containerId: container.id });
  } catch (error) {
    await rename(rotated, container.logPath);
    throw error;
  }
}

/** Leaves room for the file that is rotated next, and compresses all older ones. */
async function prepareOld(path: string, maxFiles: number): Promise<void> {
  const directory = dirname(path);
  const prefix = `${basename(path)}.`;
  const old = (await readdir(directory)).filter((name) => name.startsWith(prefix)).sort();
  const excess = old.splice(0, Math.max(0, old.length - (maxFiles - 2)));
  for (const name of excess) await rm(join(directory, name), { force: true });
  for (const name of old.filter((candidate) => !candidate.endsWith('.gz'))) {
    const file = join(directory, name);
    await pipeline(createReadStream(file), createGzip(), createWriteStream(`${file}.tmp`));
    await rename(`${file}.tmp`, `${file}.gz`);
    await rm(file);
  }
}
