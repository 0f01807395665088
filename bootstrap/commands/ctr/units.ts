import { TkadmError } from '../../../runtime/base/errors.ts';
import { parseDuration, parseSize } from '../../../runtime/base/flags.ts';

/** Bytes of "100m", "1g", "4096" or "1.5gb". @throws USAGE */
export function parseBytes(flag: string, text: string): number {
  const bytes = parseSize(text);
  if (bytes !== undefined) return bytes;
  throw new TkadmError('USAGE', `Cannot use "${flag} ${text}": it is no size`, { hint: `${flag} 100m` });
}

/** @throws USAGE */
export function parseInteger(flag: string, text: string): number {
  if (/^-?\d+$/.test(text)) return Number(text);
  throw new TkadmError('USAGE', `Cannot use "${flag} ${text}": it is no whole number`);
}

/** A time, "2026-01-02T15:04:05Z", seconds since 1970, or a time ago, "10m": ISO 8601. @throws USAGE */
export function parseMoment(flag: string, text: string, now: Date): string {
  if (/^\d+(\.\d+)?$/.test(text)) return new Date(Number(text) * 1000).toISOString();
  if (/^-?(\d+(\.\d+)?(ms|s|m|h))+$/.test(text)) {
    const ms = parseDuration(text.replace(/^-/, ''));
    return new Date(now.getTime() - ms).toISOString();
  }
  const time = Date.parse(text);
  if (!Number.isNaN(time)) return new Date(time).toISOString();
  throw new TkadmError('USAGE', `Cannot use "${flag} ${text}": it is neither a time nor a duration`, {
    hint: `${flag} 10m`,
  });
}

/** "1.23MB" as docker shows it: powers of `base`, four digits at most. */
export function formatBytes(bytes: number, base: 1000 | 1024): string {
  const units = base === 1000 ? ['B', 'kB', 'MB', 'GB', 'TB'] : ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log(Math.max(bytes, 1)) / Math.log(base)));
  const value = bytes / base ** power;
  return `${power === 0 ? bytes : Number(value.toPrecision(base === 1000 ? 3 : 4))}${units[power]}`;
}

/** The steps of an age: up to `below` seconds it is told in `unit`. */
const AGES = [
  { below: 1, format: () => 'Less than a second' },
  { below: 2, format: () => '1 second' },
  { below: 60, format: (s: number) => `${Math.floor(s)} seconds` },
  { below: 120, format: () => 'About a minute' },
  { below: 3600, format: (s: number) => `${Math.floor(s / 60)} minutes` },
  { below: 5400, format: () => 'About an hour' },
  { below: 48 * 3600, format: (s: number) => `${Math.round(s / 3600)} hours` },
  { below: 14 * 86400, format: (s: number) => `${Math.floor(s / 86400)} days` },
  { below: 60 * 86400, format: (s: number) => `${Math.floor(s / 86400 / 7)} weeks` },
  { below: 730 * 86400, format: (s: number) => `${Math.floor(s / 86400 / 30)} months` },
] as const;

/** "5 minutes", "About an hour": how long something has been. */
export function formatAge(since: string, now: Date): string {
  const seconds = Math.max(0, (now.getTime() - Date.parse(since)) / 1000);
  const step = AGES.find(({ below }) => seconds < below);
  return step?.format(seconds) ?? `${Math.floor(seconds / 86400 / 365)} years`;
}

/** The first 12 hex digits of an id, as docker shows it. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, '').slice(0, 12);
}

/** "docker.io/library/busybox:1" → "busybox:1", as docker's users write it. */
export function familiarName(name: string): string {
  return name.replace(/^docker\.io\/(library\/)?/, '');
}

type Defined<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };

/** The fields that are not undefined. */
export function definedOnly<T extends object>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}

/** @throws USAGE */
export function optionalInteger(flag: string, text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseInteger(flag, text);
}
