/** How a quantity is written: "1500m", "1Gi", "1e3". */
export type QuantityFormat = 'DecimalSI' | 'BinarySI' | 'DecimalExponent';

/** A parsed quantity. */
export interface Quantity {
  /** Billionths of the unit. */
  readonly nano: bigint;
  readonly format: QuantityFormat;
}

const NANO = 1_000_000_000n;
const QUANTITY = /^([+-]?)(\d+\.?\d*|\.\d+)([numkMGTPE]?|[KMGTPE]i|[eE][+-]?\d+)$/;
const DECIMAL_EXPONENTS = { n: -9, u: -6, m: -3, '': 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 } as const;
const BINARY_POWERS = { Ki: 10n, Mi: 20n, Gi: 30n, Ti: 40n, Pi: 50n, Ei: 60n } as const;

function isKeyOf<T extends object>(table: T, key: PropertyKey): key is keyof T {
  return key in table;
}

/** True when the text, or a plain number, is a quantity. */
export function isQuantity(text: string | number): boolean {
  return QUANTITY.test(String(text));
}

/** digits × 10^exponent in nano units, away from zero when it does not divide. */
function scale(digits: bigint, exponent: number): bigint {
  const power = exponent + 9;
  if (power >= 0) return digits * 10n ** BigInt(power);
  const divisor = 10n ** BigInt(-power);
  return (digits + divisor - 1n) / divisor;
}

function formatOfSuffix(suffix: string): QuantityFormat {
  if (isKeyOf(BINARY_POWERS, suffix)) return 'BinarySI';
  return /^[eE]./.test(suffix) ? 'DecimalExponent' : 'DecimalSI';
}

/** Value and format of a quantity. Throws plain `Error` for text that is none. */
export function parseQuantityFormat(text: string | number): Quantity {
  const match = QUANTITY.exec(String(text));
  if (!match) throw new Error(`invalid quantity ${JSON.stringify(text)}`);
  const [, sign, number = '', suffix = ''] = match;
  const [whole = '', fraction = ''] = number.split('.');
  const digits = BigInt(whole + fraction);
  const format = formatOfSuffix(suffix);
  let nano: bigint;
  if (isKeyOf(BINARY_POWERS, suffix)) {
    const scaled = digits << BINARY_POWERS[suffix];
    nano = scale(scaled, -fraction.length);
  } else {
    const exponent = isKeyOf(DECIMAL_EXPONENTS, suffix) ? DECIMAL_EXPONENTS[suffix] : Number(suffix.slice(1));
    nano = scale(digits, exponent - fraction.length);
  }
  return { nano: sign === '-' ? -nano : nano, format };
}

/** A quantity in billionths of the unit, rounded away from zero: "100m" → 100000000n. Throws plain `Error`. */
export function parseQuantity(text: string | number): bigint {
  return parseQuantityFormat(text).nano;
}

function formatDecimal(nano: bigint, suffixOf: (exponent: number) => string): string {
  let value = nano;
  let exponent = -9;
  while (exponent < 18 && value % 1000n === 0n) {
    value /= 1000n;
    exponent += 3;
  }
  return `${value}${suffixOf(exponent)}`;
}

function decimalSuffix(exponent: number): string {
  const entry = Object.entries(DECIMAL_EXPONENTS).find(([, value]) => value === exponent);
  return entry?.[0] ?? '';
}

function formatBinary(units: bigint): string {
  let value = units;
  let suffix = '';
  for (const name of Object.keys(BINARY_POWERS)) {
    if (value % 1024n !== 0n) break;
    value >>= 10n;
    suffix = name;
  }
  return `${value}${suffix}`;
}

/** Canonical text: no fraction, the largest suffix that fits; below 1024 or with a fraction BinarySI turns decimal. */
export function formatQuantity(nano: bigint, format: QuantityFormat): string {
  if (nano === 0n) return '0';
  const size = nano < 0n ? -nano : nano;
  if (format === 'BinarySI' && size >= 1024n * NANO && nano % NANO === 0n) return formatBinary(nano / NANO);
  if (format === 'DecimalExponent')
    return formatDecimal(nano, (exponent) => (exponent === 0 ? '' : `e${exponent}`));
  return formatDecimal(nano, decimalSuffix);
}

/** The canonical spelling of a quantity: "0.5" → "500m", "2048Ki" → "2Mi". Throws plain `Error`. */
export function canonicalQuantity(text: string | number): string {
  const { nano, format } = parseQuantityFormat(text);
  return formatQuantity(nano, format);
}

/** -1, 0 or 1 as `left` is less than, equal to or more than `right`. Throws plain `Error`. */
export function compareQuantity(left: string | number, right: string | number): -1 | 0 | 1 {
  const difference = parseQuantity(left) - parseQuantity(right);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** The value as a number, which may lose digits: "100m" → 0.1; 0 for none. Throws plain `Error`. */
export function quantityToNumber(text: string | number = 0): number {
  const nano = parseQuantity(text);
  return nano % NANO === 0n ? Number(nano / NANO) : Number(nano) / 1e9;
}

/** Thousandths of the unit, rounded up: "0.1" → 100; 0 for none. Throws plain `Error`. */
export function quantityToMilli(text: string | number = 0): number {
  const nano = parseQuantity(text);
  const milli = nano / 1_000_000n;
  return Number(nano > milli * 1_000_000n ? milli + 1n : milli);
}

/** Whole units, rounded up: "1500m" → 2; 0 for none. Throws plain `Error`. */
export function quantityToInteger(text: string | number = 0): number {
  const nano = parseQuantity(text);
  const whole = nano / NANO;
  return Number(nano > whole * NANO ? whole + 1n : whole);
}
