import { TkadmError } from '../../runtime/base/errors.ts';

interface ClockOptions {
  readonly endpoint: string;
  readonly now: () => Date;
  readonly warn?: (message: string) => void;
}

/** New certificates are backdated by this; further behind, none of them is valid yet. */
const SKEW_LIMIT_MS = 300_000;
const SKEW_NOTICE_MS = 10_000;

/**
 * Compares this machine's clock with the Date header of an answer (RFC 9110 §6.6.1, whole seconds).
 * @throws DISCOVERY_CLOCK beyond five minutes; certificates and tokens would fail in odd ways
 */
export function checkClock(date: string | undefined, options: ClockOptions): void {
  const serverMs = Date.parse(date ?? '');
  if (Number.isNaN(serverMs)) return;
  const skewMs = options.now().getTime() - serverMs;
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  const state = `${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'}`;
  if (Math.abs(skewMs) > SKEW_LIMIT_MS) {
    throw new TkadmError(
      'DISCOVERY_CLOCK',
      `Cannot join through "${options.endpoint}": this machine's clock is ${state} the API server's`,
      {
        hint: 'Set the clock, for example: timedatectl set-ntp true',
        details: { skewSeconds: Math.round(skewMs / 1000), serverTime: new Date(serverMs).toISOString() },
      },
    );
  }
  if (Math.abs(skewMs) > SKEW_NOTICE_MS) {
    options.warn?.(`This machine's clock is ${state} the API server's: set it, for example by NTP`);
  }
}
