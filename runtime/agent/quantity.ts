import { TkadmError } from '../base/errors.ts';

const SUFFIXES: Readonly<Record<string, number>> = {
  '': 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/**
 * Parses a resource.Quantity, "250m", "1.5Gi", "1e3": its value in base units (cores, bytes).
 * @throws AGENT_POD_INVALID when the text is no quantity.
 */
export function parseQuantity(quantity: string | number): number {
  const text = String(quantity).trim();
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/.exec(text);
  if (!match)
    throw new TkadmError('AGENT_POD_INVALID', `Cannot read quantity "${text}": it has no known form`);
  if (match[2]) return Number(match[1]! + match[2]);
  return Number(match[1]) * SUFFIXES[match[3] ?? '']!;
}

/** CPU quantity in thousandths of a core, rounded up. */
export function parseMilliCpu(quantity: string | number | undefined): number {
  return quantity === undefined ? 0 : Math.ceil(parseQuantity(quantity) * 1000 - 1e-6);
}

/** Quantity in whole units, rounded up; 0 when undefined. */
export function parseWhole(quantity: string | number | undefined): number {
  return quantity === undefined ? 0 : Math.ceil(parseQuantity(quantity) - 1e-9);
}

/** Bytes as "1234Ki" when they are whole KiB, else plain. */
export function formatBytes(bytes: number): string {
  return bytes > 0 && bytes % 1024 === 0 ? `${bytes / 1024}Ki` : String(Math.floor(bytes));
}
