import { setTimeout as delay } from 'node:timers/promises';
import { TkadmError } from './errors.ts';

export interface WaitOptions {
  /** What is waited for, as in `Cannot see ${subject}: ...`. */
  readonly subject: string;
  readonly timeoutMs: number;
  readonly intervalMs?: number;
  /** Told after each look that has found nothing, with why where that is known. */
  readonly onMiss?: (elapsedMs: number, error: unknown) => void;
  readonly signal?: AbortSignal | undefined;
}

/** Sleeps; rejects with the signal's reason when it is aborted. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, signal ? { signal } : undefined);
}

/** What the work gives, or the signal's reason as soon as it comes: what is under way then goes on unheard. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/**
 * Calls `probe` until it returns something other than undefined, and returns that.
 * @throws WAIT_TIMEOUT with the last error thrown by `probe` as cause.
 */
export async function waitFor<T>(probe: () => Promise<T | undefined>, options: WaitOptions): Promise<T> {
  const startedAt = performance.now();
  const deadline = startedAt + options.timeoutMs;
  let lastError: unknown;
  for (;;) {
    options.signal?.throwIfAborted();
    try {
      const value = await untilAborted(probe(), options.signal);
      if (value !== undefined) return value;
    } catch (error) {
      options.signal?.throwIfAborted();
      lastError = error;
    }
    options.onMiss?.(performance.now() - startedAt, lastError);
    if (performance.now() >= deadline) {
      const last = lastError instanceof Error ? `: ${lastError.message}` : '';
      throw new TkadmError(
        'WAIT_TIMEOUT',
        `Cannot see ${options.subject} after ${options.timeoutMs} ms${last}`,
        {
          cause: lastError,
        },
      );
    }
    await sleep(options.intervalMs ?? 100, options.signal);
  }
}
