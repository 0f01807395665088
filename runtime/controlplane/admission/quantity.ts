/** Quantities are exact: a bigint that counts billionths (10^-9), the finest unit of resource.Quantity. */
const NANOS = 1_000_000_000n;

const SUFFIXES: Readonly<Record<string, bigint>> = {
  n: 1n,
  u: 1_000n,
  m: 1_000_000n,
  '': NANOS,
  k: NANOS * 10n ** 3n,
  M: NANOS * 10n ** 6n,
  G: NANOS * 10n ** 9n,
  T: NANOS * 10n ** 12n,
  P: NANOS * 10n ** 15n,
  E: NANOS * 10n ** 18n,
  Ki: NANOS << 10n,
  Mi: NANOS << 20n,
  Gi: NANOS << 30n,
  Ti: NANOS << 40n,
  Pi: NANOS << 50n,
  Ei: NANOS << 60n,
};
const QUANTITY = /^([+-]?)(\d*)(?:\.(\d*))?(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/;

/** "100m", "1.5Gi", "2e3" → billionths, rounded up. @throws Error for other text */
export function parseQuantity(text: string | number): bigint {
  const match = QUANTITY.exec(String(text));
  const [, sign = '', whole = '', fraction = '', exponent, suffix = ''] = match ?? [];
  if (!match || (whole === '' && fraction === '')) throw new Error(`"${text}" is no quantity`);
  let numerator = BigInt(`${whole}${fraction}` || '0') * SUFFIXES[suffix]!;
  let denominator = 10n ** BigInt(fraction.length);
  const power = exponent === undefined ? 0 : Number(exponent.slice(1));
  if (power > 0) numerator *= 10n ** BigInt(Math.min(power, 40));
  else denominator *= 10n ** BigInt(Math.min(-power, 40));
  const value = (numerator + denominator - 1n) / denominator;
  return sign === '-' ? -value : value;
}

/** The canonical text: the largest suffix that leaves a whole number, of the decimal or the binary row. */
export function formatQuantity(value: bigint, form: 'decimal' | 'binary' = 'decimal'): string {
  if (value === 0n) return '0';
  const rows = form === 'binary' ? ['Ei', 'Pi', 'Ti', 'Gi', 'Mi', 'Ki'] : ['E', 'P', 'T', 'G', 'M', 'k'];
  for (const suffix of [...rows, '', 'm', 'u', 'n']) {
    const unit = SUFFIXES[suffix]!;
    if (value % unit === 0n) return `${value / unit}${suffix}`;
  }
  return `${value}n`;
}

/** True for text with a binary suffix, "64Mi": sums are shown in the same form. */
export function isBinaryQuantity(text: string): boolean {
  return text.endsWith('i');
}
