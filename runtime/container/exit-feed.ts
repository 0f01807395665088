import type { ContainerStatus } from './engine.ts';

/** Hands every exit to every subscriber. */
export class ExitFeed {
  readonly #subscribers = new Set<(status: ContainerStatus) => void>();

  publish(status: ContainerStatus): void {
    for (const deliver of this.#subscribers) deliver(status);
  }

  /** Exits from the call on, until the signal is aborted. */
  subscribe(signal: AbortSignal): AsyncIterable<ContainerStatus> {
    const queue: ContainerStatus[] = [];
    let wake: () => void = () => {};
    const deliver = (status: ContainerStatus) => {
      queue.push(status);
      wake();
    };
    const subscribers = this.#subscribers;
    subscribers.add(deliver);
    signal.addEventListener('abort', () => wake(), { once: true });
    return (async function* () {
      try {
        while (!signal.aborted) {
          const status = queue.shift();
          if (status !== undefined) yield status;
          else {
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
          }
        }
      } finally {
        subscribers.delete(deliver);
      }
    })();
  }
}
