/** Back-off of a key that keeps failing, as in upstream's default controller rate limiter. */
const BACKOFF_FIRST_MS = 5;
const BACKOFF_MAX_MS = 60_000;

/**
 * Keys to work on: each waits at most once, is worked on by one worker at a time, and comes back when it
 * was added meanwhile. Iterate with several `for await` loops for several workers; call `done(key)` after each.
 */
export class WorkQueue implements AsyncIterable<string> {
  readonly #waiting = new Set<string>();
  readonly #active = new Set<string>();
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, { readonly timer: NodeJS.Timeout; readonly dueMs: number }>();
  readonly #readers: (() => void)[] = [];
  #isClosed = false;

  /** Keys waiting or being worked on. */
  get size(): number {
    return this.#waiting.size + this.#active.size;
  }

  /** Adds the key, unless it waits already. */
  add(key: string): void {
    if (this.#isClosed) return;
    if (this.#active.has(key)) {
      this.#again.add(key);
      return;
    }
    this.#waiting.add(key);
    this.#readers.shift()?.();
  }

  /** Adds the key after a delay; of several delays the shortest counts. */
  addAfter(key: string, delayMs: number): void {
    if (delayMs <= 0) {
      this.add(key);
      return;
    }
    const dueMs = performance.now() + delayMs;
    const present = this.#timers.get(key);
    if (this.#isClosed || (present && present.dueMs <= dueMs)) return;
    if (present) clearTimeout(present.timer);
    const timer = setTimeout(
      () => {
        this.#timers.delete(key);
        this.add(key);
      },
      Math.min(delayMs, 2 ** 31 - 1),
    );
    this.#timers.set(key, { timer, dueMs });
  }

  /** Adds the key after its back-off: 5 ms, doubled with each failure in a row, at most a minute. */
  addBackedOff(key: string): void {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.addAfter(key, Math.min(BACKOFF_FIRST_MS * 2 ** Math.min(failures, 20), BACKOFF_MAX_MS));
  }

  /** Failures of the key in a row. */
  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  /** Ends the key's back-off. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** Marks the end of the work on a key that the iterator gave. */
  done(key: string): void {
    this.#active.delete(key);
    if (this.#again.delete(key)) this.add(key);
  }

  /** Ends all iterators. */
  close(): void {
    this.#isClosed = true;
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    for (const wake of this.#readers.splice(0)) wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    while (!this.#isClosed) {
      const next = this.#waiting.values().next();
      if (next.done) {
        await new Promise<void>((resolve) => this.#readers.push(resolve));
        continue;
      }
      this.#waiting.delete(next.value);
      this.#active.add(next.value);
      yield next.value;
    }
  }
}
