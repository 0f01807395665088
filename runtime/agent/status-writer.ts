import { isApiError } from '../api/api-error.ts';
import { PODS } from '../api/kinds.ts';
import type { Logger } from '../base/log.ts';
import { sleep } from '../base/time.ts';
import type { ApiLink } from './api-link.ts';
import type { PodStatus } from './pod-status.ts';

/** The API object whose status is written; a static pod's is that of its mirror pod, which may be absent. */
export interface StatusTarget {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** The status that the API has, as far as known. */
  readonly known: PodStatus | undefined;
  /** The object's resourceVersion with that status. */
  readonly version: string;
}

export interface StatusWriterOptions {
  readonly link: ApiLink;
  /** The API object of a pod, looked up at the time of writing. */
  readonly findTarget: (podUid: string) => StatusTarget | undefined;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

interface Entry {
  wanted: PodStatus;
  /** JSON of what was written last, and to which object. */
  written: string;
  /** The object's resourceVersion after that. */
  writtenVersion: string;
  writing: Promise<void> | undefined;
}

const RETRY_MS = 500;

/** Writes pod statuses to the API when they change: one request at a time for each pod, the newest wins. */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #entries = new Map<string, Entry>();

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /** Sets the status that the API should have. */
  set(podUid: string, status: PodStatus): void {
    const entry = this.#entries.get(podUid) ?? {
      wanted: status,
      written: '',
      writtenVersion: '',
      writing: undefined,
    };
    entry.wanted = status;
    this.#entries.set(podUid, entry);
    this.#start(podUid, entry);
  }

  /** The status last set. */
  get(podUid: string): PodStatus | undefined {
    return this.#entries.get(podUid)?.wanted;
  }

  /** Writes again where the API's object changed or appeared (a mirror pod that was made anew). */
  refresh(podUid: string): void {
    const entry = this.#entries.get(podUid);
    if (entry) this.#start(podUid, entry);
  }

  /** Resolves when the newest status is written, or when there is nobody to write it to. */
  async flush(podUid: string): Promise<void> {
    await this.#entries.get(podUid)?.writing;
  }

  forget(podUid: string): void {
    this.#entries.delete(podUid);
  }

  #start(podUid: string, entry: Entry): void {
    if (entry.writing) return;
    entry.writing = this.#run(podUid, entry).finally(() => {
      entry.writing = undefined;
    });
  }

  async #run(podUid: string, entry: Entry): Promise<void> {
    const { link, findTarget, log, signal } = this.#options;
    while (!signal.aborted && this.#entries.get(podUid) === entry) {
      const target = findTarget(podUid);
      if (!target || !link.client) return;
      const text = `${target.uid} ${JSON.stringify(entry.wanted)}`;
      if (isEqual(target.known, entry.wanted)) return;
      // Written already, and not seen yet; when seen, somebody else has changed it since: a controller that took
      // the node for lost.
      if (text === entry.written && !isNewer(target.version, entry.writtenVersion)) return;
      const body = { metadata: { uid: target.uid }, status: buildStatusPatch(target.known, entry.wanted) };
      try {
        const { namespace, name } = target;
        const ref = { namespace, name, subresource: 'status' };
        const { metadata } = await link.client.patch(PODS, ref, { type: 'merge', body });
        entry.written = text;
        entry.writtenVersion = metadata?.resourceVersion ?? '';
      } catch (error) {
        if (isApiError(error, 'NotFound') || isApiError(error, 'Conflict')) return;
        log.debug(
          `Cannot write the status of pod "${target.namespace}/${target.name}": ${(error as Error).message}`,
        );
        await sleep(RETRY_MS, signal).catch(() => {});
      }
    }
  }
}

/** A JSON merge patch (RFC 7386) from the known status to the wanted one: fields that are gone become null. */
export function buildStatusPatch(known: PodStatus | undefined, wanted: PodStatus): Record<string, unknown> {
  const patch: Record<string, unknown> = { ...wanted };
  for (const key of Object.keys(known ?? {})) if (!(key in wanted)) patch[key] = null;
  return patch;
}

/** resourceVersions are decimal numbers that grow (Kubernetes API concepts, "Resource versions"). */
function isNewer(version: string, than: string): boolean {
  return /^\d+$/.test(version) && /^\d+$/.test(than) && BigInt(version) > BigInt(than);
}

function isEqual(a: unknown, b: unknown): boolean {
  return stableText(a) === stableText(b);
}

/** JSON with sorted keys and without empty values, which the API server leaves out. */
function stableText(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (item === null || Array.isArray(item) || typeof item !== 'object') return item;
    const entries = Object.entries(item).filter(([, field]) => field !== undefined && field !== null);
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}
