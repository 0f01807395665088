/** Hands every event to whoever listens at that moment; listeners do not slow the sender. */
export class EventHub<T> {
  readonly #listeners = new Set<(event: T) => void>();

  publish(event: T): void {
    for (const listener of this.#listeners) listener(event);
  }

  /** Events from this call on, until the signal is aborted. */
  subscribe(signal: AbortSignal): AsyncGenerator<T> {
    const queue: T[] = [];
    let wake = () => {};
    const listener = (event: T) => {
      queue.push(event);
      wake();
    };
    const end = () => {
      this.#listeners.delete(listener);
      wake();
    };
    if (!signal.aborted) this.#listeners.add(listener);
    signal.addEventListener('abort', end, { once: true });
    return readQueue(queue, signal, {
      wait: () =>
        new Promise((resolve) => {
          wake = resolve;
        }),
      end: () => {
        signal.removeEventListener('abort', end);
        end();
      },
    });
  }
}

interface Waiter {
  /** Resolves when the queue has grown or the signal was aborted. */
  wait(): Promise<void>;
  end(): void;
}

async function* readQueue<T>(queue: T[], signal: AbortSignal, waiter: Waiter): AsyncGenerator<T> {
  try {
    for (;;) {
      const event = queue.shift();
      if (event !== undefined) yield event;
      else if (signal.aborted) return;
      else await waiter.wait();
    }
  } finally {
    waiter.end();
  }
}
