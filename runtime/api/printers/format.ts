import { formatLabelSelector, type LabelSelector } from '../label-selectors.ts';
import { getObject, getObjects, getString, getStringMap } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const YEAR = 365 * DAY;

/** Each step: up to `limit` seconds show `unit`, and the rest in `minor` units when `minor` is given. */
const DURATION_STEPS = [
  { limit: 2 * MINUTE, unit: 1, suffix: 's' },
  { limit: 10 * MINUTE, unit: MINUTE, suffix: 'm', minor: 1, minorSuffix: 's' },
  { limit: 3 * HOUR, unit: MINUTE, suffix: 'm' },
  { limit: 8 * HOUR, unit: HOUR, suffix: 'h', minor: MINUTE, minorSuffix: 'm' },
  { limit: 2 * DAY, unit: HOUR, suffix: 'h' },
  { limit: 8 * DAY, unit: DAY, suffix: 'd', minor: HOUR, minorSuffix: 'h' },
  { limit: 2 * YEAR, unit: DAY, suffix: 'd' },
  { limit: 8 * YEAR, unit: YEAR, suffix: 'y', minor: DAY, minorSuffix: 'd' },
  { limit: Number.POSITIVE_INFINITY, unit: YEAR, suffix: 'y' },
] as const;

/** A time span as kubectl shows it: "90s", "5m30s", "3h", "2d4h". */
export function formatAge(milliseconds: number): string {
  const seconds = Math.trunc(milliseconds / 1000);
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  const step = DURATION_STEPS.find(({ limit }) => seconds < limit)!;
  const whole = Math.floor(seconds / step.unit);
  const rest = 'minor' in step ? Math.floor((seconds % step.unit) / step.minor) : 0;
  return `${whole}${step.suffix}${'minor' in step && rest > 0 ? `${rest}${step.minorSuffix}` : ''}`;
}

/** Time since an RFC 3339 text; "<unknown>" when it is empty. */
export function formatSince(text: string, now: Date): string {
  return text === '' ? '<unknown>' : formatAge(now.getTime() - Date.parse(text));
}

/** Time since the object was created. */
export function ageOf(object: JsonObject, now: Date): string {
  return formatSince(getString(object['metadata'], 'creationTimestamp'), now);
}

export function nameOf(object: JsonObject): string {
  return getString(object['metadata'], 'name');
}

/** The text, or "<none>". */
export function orNone(text: string): string {
  return text === '' ? '<none>' : text;
}

/** Names and images of the containers of a pod template, with commas. */
export function containersOf(template: JsonObject | undefined): readonly [string, string] {
  const containers = getObjects(template?.['spec'], 'containers');
  return [
    containers.map((container) => getString(container, 'name')).join(','),
    containers.map((container) => getString(container, 'image')).join(','),
  ];
}

/** Labels as "a=b,c=d", or "<none>". */
export function formatLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return orNone(pairs.sort().join(','));
}

/** A LabelSelector as text, "<none>" when it is missing or empty. */
export function formatSelector(selector: JsonObject | undefined): string {
  return selector ? orNone(formatLabelSelector(selector as LabelSelector)) : '<none>';
}

/** The map `key` of the spec as a selector. */
export function formatSelectorMap(spec: JsonObject | undefined, key: string): string {
  return formatLabels(getStringMap(spec, key));
}

/** "a,b,c + 2 more..." of a list. */
export function formatShort(items: readonly string[], limit = 3): string {
  const more = items.length - limit;
  return more > 0 ? `${items.slice(0, limit).join(',')} + ${more} more...` : items.join(',');
}

/** The condition of this type in the status. */
export function findCondition(object: JsonObject, type: string): JsonObject | undefined {
  return getObjects(object['status'], 'conditions').find((condition) => condition['type'] === type);
}

export function specOf(object: JsonObject): JsonObject {
  return getObject(object, 'spec') ?? {};
}

export function statusOf(object: JsonObject): JsonObject {
  return getObject(object, 'status') ?? {};
}

/** The number `key`, or 0. */
export function countOf(object: JsonObject, key: string): number {
  const value = object[key];
  return typeof value === 'number' ? value : 0;
}
