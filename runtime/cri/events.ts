/** Hands every event to whoever listens at that moment; listeners do not slow the sender. */
export class EventHub<T> {
  readonly #listeners = new Set<(event: T) => void>();

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  publish(event: T): void {
    for (const listener of this.#listeners) listener(event);
  }

  /** Events from now on, until the signal is aborted. */
  async *subscribe(signal: AbortSignal): AsyncGenerator<T> {
    const queue: T[] = [];
    let wake: (() => void) | undefined;
    const listener = (event: T) => {
      queue.push(event);
      wake?.();
    };
    const onAbort = () => wake?.();
    this.#listeners.add(listener);
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        const event = queue.shift();
        if (event !== undefined) {
          yield event;
          continue;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        wake = undefined;
      }
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener('abort', onAbort);
    }
  }
}
