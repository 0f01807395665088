import type { PodInfo } from './pod-info.ts';

const BACKOFF_FIRST_MS = 1_000;
const BACKOFF_MAX_MS = 10_000;
/** After so long a pod is tried again though nothing seems to have changed. */
const UNSCHEDULABLE_MAX_MS = 5 * 60_000;

interface Entry {
  info: PodInfo;
  attempts: number;
  readonly addedAtMs: number;
  triedAtMs: number;
  state: 'active' | 'backoff' | 'unschedulable';
  /** The last try failed by an error, so the back-off counts even when there is nothing else to do. */
  hasError: boolean;
}

/**
 * Pods that wait for a node: those to try now by priority and age, those in back-off, and those for which
 * the cluster has to change first. In back-off a pod is tried early when nothing else waits, unless the
 * last try ended in an error (upstream's SchedulerPopFromBackoffQ).
 */
export class SchedulingQueue {
  readonly #entries = new Map<string, Entry>();
  readonly #now: () => number;
  #wake: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  /** Changes of the cluster so far; one that comes while a pod is tried counts for it too. */
  #moves = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  get size(): number {
    return this.#entries.size;
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** Number of changes so far, to be given back with a pod that found no node. */
  get moves(): number {
    return this.#moves;
  }

  /** Adds a pod, or takes over its change; `retry` makes a waiting one active again. */
  add(info: PodInfo, retry = true): void {
    const present = this.#entries.get(info.key);
    if (present) {
      present.info = info;
      if (retry && present.state === 'unschedulable') this.#release(present);
    } else {
      const addedAtMs = this.#now();
      this.#entries.set(info.key, {
        info,
        attempts: 0,
        addedAtMs,
        triedAtMs: 0,
        state: 'active',
        hasError: false,
      });
    }
    this.#notify();
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }

  /** Puts a pod back after a try; `moves` as it was when the try began. */
  putBack(
    info: PodInfo,
    tried: { readonly attempts: number; readonly addedAtMs: number },
    outcome: { readonly moves: number; readonly hasError: boolean },
  ): void {
    const isMoved = outcome.hasError || outcome.moves !== this.#moves;
    this.#entries.set(info.key, {
      info,
      attempts: tried.attempts,
      addedAtMs: tried.addedAtMs,
      triedAtMs: this.#now(),
      state: isMoved ? 'backoff' : 'unschedulable',
      hasError: outcome.hasError,
    });
    this.#notify();
  }

  /** The cluster changed: every pod that waits for that may be tried again. */
  moveAll(): void {
    this.#moves += 1;
    for (const entry of this.#entries.values()) if (entry.state === 'unschedulable') this.#release(entry);
    this.#notify();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#wake?.();
  }

  /** The next pod to try, taken out of the queue; undefined once closed. */
  async next(): Promise<
    { readonly info: PodInfo; readonly attempts: number; readonly addedAtMs: number } | undefined
  > {
    for (;;) {
      if (this.#isClosed) return undefined;
      const entry = this.#pick();
      if (entry) {
        this.#entries.delete(entry.info.key);
        return { info: entry.info, attempts: entry.attempts + 1, addedAtMs: entry.addedAtMs };
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#arm();
      });
      this.#wake = undefined;
      clearTimeout(this.#timer);
    }
  }

  #pick(): Entry | undefined {
    const now = this.#now();
    let best: Entry | undefined;
    let early: Entry | undefined;
    for (const entry of this.#entries.values()) {
      if (this.#dueMs(entry) <= now) {
        if (!best || isBefore(entry, best)) best = entry;
      } else if (entry.state === 'backoff' && !entry.hasError && (!early || isBefore(entry, early)))
        early = entry;
    }
    return best ?? early;
  }

  #dueMs(entry: Entry): number {
    if (entry.state === 'active') return 0;
    if (entry.state === 'unschedulable') return entry.triedAtMs + UNSCHEDULABLE_MAX_MS;
    return entry.triedAtMs + Math.min(BACKOFF_FIRST_MS * 2 ** (entry.attempts - 1), BACKOFF_MAX_MS);
  }

  #release(entry: Entry): void {
    entry.state = 'backoff';
    entry.hasError = false;
  }

  #arm(): void {
    const dues = [...this.#entries.values()].map((entry) => this.#dueMs(entry));
    if (dues.length === 0) return;
    const waitMs = Math.max(1, Math.min(...dues) - this.#now());
    this.#timer = setTimeout(() => this.#notify(), waitMs);
    this.#timer.unref();
  }

  #notify(): void {
    this.#wake?.();
  }
}

function isBefore(left: Entry, right: Entry): boolean {
  const difference = right.info.priority - left.info.priority;
  return difference === 0 ? left.addedAtMs < right.addedAtMs : difference < 0;
}
