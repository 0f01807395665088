import { formatError, isTkadmError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { sleep } from '../../base/time.ts';
import type { StoredCertificate } from './certificate-store.ts';

export interface RotationOptions {
  /** "client certificate" */
  readonly what: string;
  /** What is in use now; undefined: nothing that could be renewed. */
  readonly read: () => Promise<StoredCertificate | undefined>;
  /** Puts a new one into place. With no certificate yet, `current` is undefined. */
  readonly renew: (current: StoredCertificate | undefined) => Promise<void>;
  /** Asks for one at once where there is none. */
  readonly createsFirst: boolean;
  /** Told of each failure, beside the log. */
  readonly onFailure: (message: string) => void;
  readonly now: () => Date;
  /** 0 to 1: where between 70 % and 90 % of the life the certificate is renewed. */
  readonly random: () => number;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 5 * 60_000;
const LOOK_MAX_MS = 3_600_000;
const ABSENT_MS = 60_000;

/** Renews a certificate between 70 % and 90 % of its life, as the kubelet does, until the signal ends it. */
export async function rotate(options: RotationOptions): Promise<void> {
  const { what, read, renew, createsFirst, onFailure, now, random, log, signal } = options;
  let share = 0.7 + 0.2 * random();
  let retryMs = RETRY_FIRST_MS;
  let pauseMs = 0;
  for (; !signal.aborted; await sleep(pauseMs, signal).catch(() => {})) {
    try {
      const current = await read();
      const dueMs = current ? current.fromMs + (current.toMs - current.fromMs) * share : 0;
      const leftMs = dueMs - now().getTime();
      pauseMs = current || createsFirst ? Math.min(leftMs, LOOK_MAX_MS) : ABSENT_MS;
      if (pauseMs > 0) continue;
      await renew(current);
      log.info(`${current ? 'Renewed' : 'Got'} the ${what}`);
      share = 0.7 + 0.2 * random();
      retryMs = RETRY_FIRST_MS;
      pauseMs = RETRY_FIRST_MS;
    } catch (error) {
      if (signal.aborted) return;
      const hint = isTkadmError(error) && error.hint ? `. ${error.hint}` : '';
      log.warn(`Cannot renew the ${what}: ${formatError(error)}${hint}`, { retryInS: retryMs / 1000 });
      onFailure(formatError(error));
      pauseMs = retryMs;
      retryMs = Math.min(retryMs * 2, RETRY_MAX_MS);
    }
  }
}
