const SUFFIXES: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
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
 * A quantity ("100m", "128Mi", "1e3") as a number; text that is none counts as 0, for the API server
 * has refused it already. Precise for what nodes have: integers up to 2^53.
 */
export function parseQuantity(text: string | number | undefined): number {
  if (text === undefined) return 0;
  if (typeof text === 'number') return text;
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/.exec(text);
  if (!match) return 0;
  const value = Number(match[1]);
  if (match[2] !== undefined) return value * 10 ** Number(match[2]);
  const factor = SUFFIXES[match[3] ?? '']!;
  // Division keeps "100m" * 1000 exact where multiplication by 0.001 would not.
  return factor < 1 ? value / Math.round(1 / factor) : value * factor;
}

/** Thousandths, rounded up: "100m" → 100, "2" → 2000. */
export function parseMilliQuantity(text: string | number | undefined): number {
  return Math.ceil(Number((parseQuantity(text) * 1000).toFixed(3)));
}
