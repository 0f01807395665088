import { constants } from 'node:os';
import { TkadmError } from '../base/errors.ts';

const REALTIME = { first: 34, last: 64 } as const;

/**
 * "SIGTERM", "term", "15", "RTMIN+3" as kill(2) takes it: Node.js' name, or a number for real-time signals.
 * @throws CTR_REQUEST_INVALID
 */
export function parseSignal(text: string): NodeJS.Signals {
  const upper = text.toUpperCase().replace(/^SIG/, '');
  const name = `SIG${upper}`;
  if (Object.hasOwn(constants.signals, name)) return name as NodeJS.Signals;
  const number = parseNumber(upper);
  const known = Object.entries(constants.signals).find(([, value]) => value === number)?.[0];
  if (known !== undefined) return known as NodeJS.Signals;
  if (number !== undefined && number >= REALTIME.first && number <= REALTIME.last) {
    return number as unknown as NodeJS.Signals;
  }
  throw new TkadmError('CTR_REQUEST_INVALID', `Cannot use signal "${text}": there is no such signal`);
}

function parseNumber(text: string): number | undefined {
  if (/^\d+$/.test(text)) return Number(text);
  const realtime = /^RT(MIN|MAX)(?:([+-])(\d+))?$/.exec(text);
  if (realtime === null) return undefined;
  const offset = Number(realtime[3] ?? 0) * (realtime[2] === '-' ? -1 : 1);
  return (realtime[1] === 'MIN' ? REALTIME.first : REALTIME.last) + offset;
}
