/** The first wait before a restart; each further one is twice as long. */
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 60_000;
/** A run of this length counts as good: the waits begin anew. */
const GOOD_RUN_MS = 10_000;

/** Restarts of containers that wait for their time. */
export class RestartTimers {
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #delays = new Map<string, number>();

  /** Calls `action` after the wait that the container's history asks for. */
  schedule(id: string, ranMs: number, action: () => void): void {
    const before = this.#delays.get(id);
    const delay =
      before === undefined || ranMs >= GOOD_RUN_MS ? FIRST_DELAY_MS : Math.min(before * 2, MAX_DELAY_MS);
    this.#delays.set(id, delay);
    clearTimeout(this.#timers.get(id));
    const timer = setTimeout(() => {
      this.#timers.delete(id);
      action();
    }, delay);
    this.#timers.set(id, timer);
  }

  /** Forgets a restart that waits, and the history. */
  cancel(id: string): void {
    clearTimeout(this.#timers.get(id));
    this.#timers.delete(id);
    this.#delays.delete(id);
  }

  close(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }
}
