import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileIfExists, writeFileAtomic } from '../base/files.ts';
import type { Logger } from '../base/log.ts';
import type { OciProcess } from '../container/oci-spec.ts';
import type { CniAttachment } from './cni.ts';
import type { ContainerConfig } from './messages/container.ts';
import type { PodSandboxConfig } from './messages/sandbox.ts';
import type { Signal } from './messages/signal.ts';

/** What the runtime knows of a sandbox; `sandbox.json` in its directory. */
export interface SandboxRecord {
  readonly id: string;
  readonly config: PodSandboxConfig;
  readonly runtimeHandler: string;
  /** Nanoseconds since 1970, as text. */
  readonly createdAt: string;
  /** False until everything was set up, and again once it was stopped. */
  readonly isReady: boolean;
  /** Until RunPodSandbox has answered. */
  readonly isHalfMade?: boolean | undefined;
  /** What CNI gave; absent with the host's network and after the release. */
  readonly network?: CniAttachment | undefined;
}

/** How a container ended; times in nanoseconds since 1970, as text. */
export interface ContainerEnd {
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly exitCode: number;
  readonly isOomKilled: boolean;
  /** Set when it never ran or nobody saw its end. */
  readonly reason?: string | undefined;
  readonly message?: string | undefined;
}

/** What the runtime knows of a container; `container.json` in its directory. */
export interface ContainerRecord {
  readonly id: string;
  readonly sandboxId: string;
  readonly config: ContainerConfig;
  readonly imageId: string;
  readonly imageName: string;
  readonly imageRef: string;
  readonly createdAt: string;
  readonly logPath: string;
  /** The first process; exec starts from it. */
  readonly process: OciProcess;
  readonly stopSignal: Signal;
  readonly lowerDirs: readonly string[];
  readonly end?: ContainerEnd | undefined;
}

/**
 * Records as one JSON file in a directory of its own each. They are replaced atomically but not synced: they
 * describe processes, which a power failure ends as well.
 */
export class RecordStore<T extends { readonly id: string }> {
  readonly #root: string;
  readonly #fileName: string;
  readonly #records = new Map<string, T>();

  constructor(root: string, fileName: string) {
    this.#root = root;
    this.#fileName = fileName;
  }

  /** Reads all; directories without a readable record are removed by `discard`, then deleted. */
  async load(log: Logger, discard: (directory: string) => Promise<void>): Promise<void> {
    await mkdir(this.#root, { recursive: true, mode: 0o711 });
    for (const id of await readdir(this.#root)) {
      const text = await readFileIfExists(join(this.#root, id, this.#fileName));
      try {
        const record = JSON.parse(text ?? '') as T;
        if (record.id !== id) throw new Error('another id');
        this.#records.set(id, record);
      } catch {
        log.warn('removed a directory without a record', { path: join(this.#root, id) });
        await discard(join(this.#root, id));
        await rm(join(this.#root, id), { recursive: true, force: true });
      }
    }
  }

  directory(id: string): string {
    return join(this.#root, id);
  }

  get(id: string): T | undefined {
    return this.#records.get(id);
  }

  list(): readonly T[] {
    return [...this.#records.values()];
  }

  /** An exact id, or the only one that begins so. */
  find(text: string): T | undefined {
    const exact = this.#records.get(text);
    if (exact !== undefined || text === '') return exact;
    const matches = this.list().filter((record) => record.id.startsWith(text));
    return matches.length === 1 ? matches[0] : undefined;
  }

  async put(record: T): Promise<void> {
    const path = join(this.#root, record.id, this.#fileName);
    await writeFileAtomic(path, JSON.stringify(record), { mode: 0o600, sync: false });
    this.#records.set(record.id, record);
  }

  async remove(id: string): Promise<void> {
    await rm(join(this.#root, id, this.#fileName), { force: true });
    this.#records.delete(id);
    await rm(join(this.#root, id), { recursive: true, force: true });
  }
}
