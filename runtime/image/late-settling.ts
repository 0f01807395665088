import { formatError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';

export interface LateSettlingOptions {
  /** Brings layers to the disk. */
  readonly settle: (diffIds: readonly string[]) => Promise<void>;
  readonly delayMs: number;
  readonly log: Logger;
}

/** What was pulled is used while it is still on its way to the disk: containers that start have the disk first. */
export class LateSettling {
  readonly #options: LateSettlingOptions;
  /** diffIds of layers that are to be on disk soon. */
  readonly #waiting = new Set<string>();
  #isPlanned = false;

  constructor(options: LateSettlingOptions) {
    this.#options = options;
  }

  add(diffIds: readonly string[]): void {
    for (const diffId of diffIds) this.#waiting.add(diffId);
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    setTimeout(() => this.#settle(), this.#options.delayMs).unref();
  }

  #settle(): void {
    this.#isPlanned = false;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    this.#options.settle(waiting).catch((error: unknown) => {
      this.#options.log.warn('layers are not on disk', { error: formatError(error) });
    });
  }
}
