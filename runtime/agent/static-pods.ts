import { watch } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isSystemError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { sleep } from '../base/time.ts';
import { type AgentPod, podKey } from './pod.ts';
import { parseStaticPod } from './static-pod-file.ts';

export interface StaticPodSourceOptions {
  /** The directory, or one file. */
  readonly path: string;
  readonly nodeName: string;
  /** Milliseconds between scans that no notice asked for. */
  readonly scanMs: number;
  readonly now: () => Date;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly onPods: (pods: readonly AgentPod[]) => void;
}

const SETTLE_MS = 20;
/** What is left of a file that was being written when its writer was killed. */
const TEMPORARY = /\.[0-9a-f]{12}\.tmp$/;

/** Follows a manifest directory: tells the whole set of static pods, first at once and then at every change. */
export async function followStaticPods(options: StaticPodSourceOptions): Promise<void> {
  const { path, scanMs, signal } = options;
  const known = new Map<string, { readonly text: string; readonly pod: AgentPod }>();
  let wake = () => {};
  let isWatching = false;
  const startWatching = () => {
    if (isWatching) return;
    try {
      watch(path, { signal }, () => wake()).on('error', () => {
        isWatching = false;
      });
      isWatching = true;
    } catch {
      // The directory is not there yet: the next scan tries again.
    }
  };
  let last: string | undefined;
  while (!signal.aborted) {
    startWatching();
    const noticed = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const pods = await scan(options, known);
    const text = pods?.map(({ metadata }) => metadata.uid).join(' ');
    if (pods && text !== last) {
      last = text;
      options.onPods(pods);
    }
    await Promise.race([noticed, sleep(scanMs, signal).catch(() => {})]);
    await sleep(SETTLE_MS, signal).catch(() => {});
  }
}

type Known = Map<string, { readonly text: string; readonly pod: AgentPod }>;

/** All pods, or undefined when the directory cannot be read: what runs goes on. */
async function scan(options: StaticPodSourceOptions, known: Known): Promise<AgentPod[] | undefined> {
  let files: string[];
  try {
    files = await listManifests(options.path);
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) {
      options.log.warn(`Cannot read static pods: ${(error as Error).message}`);
      return undefined;
    }
    files = [];
  }
  for (const file of known.keys()) if (!files.includes(file)) known.delete(file);
  for (const file of files) await load(options, known, file);
  const pods = new Map<string, AgentPod>();
  for (const { pod } of known.values()) {
    if (pods.has(podKey(pod))) options.log.warn(`Two static pods have the name "${podKey(pod)}"`);
    else pods.set(podKey(pod), pod);
  }
  return [...pods.values()];
}

async function listManifests(path: string): Promise<string[]> {
  if ((await stat(path)).isFile()) return [path];
  const entries = await readdir(path, { withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory() && !entry.name.startsWith('.') && !TEMPORARY.test(entry.name))
    .map((entry) => join(path, entry.name))
    .sort();
}

/** A file that cannot be used leaves the pod that it described before in place. */
async function load(options: StaticPodSourceOptions, known: Known, path: string): Promise<void> {
  try {
    const text = await readFile(path, 'utf8');
    if (known.get(path)?.text === text) return;
    const pod = parseStaticPod(text, { path, nodeName: options.nodeName, seenAt: options.now() });
    known.set(path, { text, pod });
    options.log.info(`Read static pod "${podKey(pod)}"`, { path });
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) known.delete(path);
    else options.log.warn((error as Error).message);
  }
}
