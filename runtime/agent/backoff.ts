interface Entry {
  readonly delayMs: number;
  readonly updatedAtMs: number;
}

/**
 * Per-key exponential delays as client-go `flowcontrol.Backoff` keeps them: the first failure costs no
 * delay, the next `firstMs`, then doubled up to `maxMs`; a key is forgotten after `2 * maxMs` of peace.
 */
export class Backoff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #now: () => number;
  readonly #entries = new Map<string, Entry>();

  constructor(firstMs: number, maxMs: number, now: () => number) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
    this.#now = now;
  }

  /** The present delay of the key in ms; 0 when it has none. */
  delayMs(key: string): number {
    return this.#entries.get(key)?.delayMs ?? 0;
  }

  /** Milliseconds that still have to pass since `eventAtMs` (epoch) before the key may be tried again. */
  remainingMs(key: string, eventAtMs: number): number {
    const entry = this.#entries.get(key);
    if (!entry || this.#isExpired(entry, eventAtMs)) return 0;
    return Math.max(0, eventAtMs + entry.delayMs - this.#now());
  }

  /** Records a retry after the event at `eventAtMs`: sets the delay that the next one has to wait. */
  next(key: string, eventAtMs: number): void {
    const entry = this.#entries.get(key);
    const isFresh = !entry || this.#isExpired(entry, eventAtMs);
    const delayMs = isFresh ? this.#firstMs : Math.min(entry.delayMs * 2, this.#maxMs);
    this.#entries.set(key, { delayMs, updatedAtMs: this.#now() });
  }

  /** Forgets every key that starts with `prefix`. */
  forget(prefix: string): void {
    for (const key of this.#entries.keys()) if (key.startsWith(prefix)) this.#entries.delete(key);
  }

  #isExpired(entry: Entry, eventAtMs: number): boolean {
    return eventAtMs - entry.updatedAtMs > this.#maxMs * 2;
  }
}
