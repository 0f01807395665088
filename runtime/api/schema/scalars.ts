import { canonicalQuantity, isQuantity } from '../quantity.ts';
import { isJsonObject, type Scalar } from './types.ts';

/** undefined: the value fits; '': the JSON type is wrong; else what is wrong with the value. */
type ScalarCheck = (value: unknown) => string | undefined;

const RFC3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;
const BASE64 = /^[A-Za-z0-9+/\r\n]*={0,2}[\r\n]*$/;

function checkInteger(value: unknown, limit: number): string | undefined {
  return Number.isInteger(value) && Math.abs(value as number) <= limit ? undefined : '';
}

function checkTime(value: unknown): string | undefined {
  if (typeof value !== 'string') return '';
  if (RFC3339.test(value) && !Number.isNaN(Date.parse(value))) return undefined;
  return `parsing time ${JSON.stringify(value)} as "2006-01-02T15:04:05Z07:00": cannot parse ${JSON.stringify(value)} as "2006"`;
}

function checkBytes(value: unknown): string | undefined {
  if (typeof value !== 'string') return '';
  if (BASE64.test(value) && value.replace(/[\r\n]/g, '').length % 4 === 0) return undefined;
  const bad = value.search(/[^A-Za-z0-9+/=\r\n]/);
  return `illegal base64 data at input byte ${bad < 0 ? Math.max(0, value.length - (value.length % 4)) : bad}`;
}

function checkQuantity(value: unknown): string | undefined {
  if (typeof value !== 'string' && typeof value !== 'number') return '';
  return isQuantity(value)
    ? undefined
    : "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
}

const accept: ScalarCheck = () => undefined;

/** Whether a JSON value fits a scalar. */
export const SCALAR_CHECKS: Readonly<Record<Scalar, ScalarCheck>> = {
  string: (value) => (typeof value === 'string' ? undefined : ''),
  bool: (value) => (typeof value === 'boolean' ? undefined : ''),
  int32: (value) => checkInteger(value, 2 ** 31),
  int64: (value) => checkInteger(value, 2 ** 63),
  double: (value) => (typeof value === 'number' ? undefined : ''),
  bytes: checkBytes,
  time: checkTime,
  microTime: checkTime,
  quantity: checkQuantity,
  intOrString: (value) => (typeof value === 'string' || Number.isInteger(value) ? undefined : ''),
  raw: accept,
  json: accept,
  fieldsV1: (value) => (isJsonObject(value) ? undefined : ''),
};

/** Numbers below 1000 with any suffix: most quantities, and canonical as they are. */
const CANONICAL_QUANTITY = /^(0|[1-9]\d{0,2}(m|k|[MGTPE]|[KMGTPE]i)?)$/;
const CANONICAL_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const CANONICAL_MICRO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/;

/** "2026-01-01T01:00:00.5+01:00" → "2026-01-01T00:00:00Z", or with six digits of a second. */
function normalizeTime(text: string, isMicro: boolean): string {
  const iso = new Date(text).toISOString();
  if (!isMicro) return `${iso.slice(0, 19)}Z`;
  const fraction = /\.(\d+)/.exec(text)?.[1] ?? '';
  return `${iso.slice(0, 19)}.${fraction.padEnd(6, '0').slice(0, 6)}Z`;
}

/** The spelling in which the API stores a value that passed its check. */
export function normalizeScalar(scalar: Scalar, value: unknown): unknown {
  if (scalar === 'quantity') {
    const text = String(value);
    return CANONICAL_QUANTITY.test(text) ? text : canonicalQuantity(text);
  }
  if (scalar === 'time')
    return CANONICAL_TIME.test(String(value)) ? value : normalizeTime(String(value), false);
  if (scalar === 'microTime')
    return CANONICAL_MICRO_TIME.test(String(value)) ? value : normalizeTime(String(value), true);
  return value;
}
