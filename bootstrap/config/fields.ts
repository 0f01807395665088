import type { RawObject } from './documents.ts';

/** True for an object that is no list. */
export function isMapping(value: unknown): value is RawObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value at a dotted path; undefined when nothing is there. */
export function readField(document: unknown, path: string): unknown {
  return path.split('.').reduce((value, key) => (isMapping(value) ? value[key] : undefined), document);
}

/** The named field as an object to spread; {} when it is not set or "", which to the API is the same. */
export function pick<T extends object, K extends keyof T>(source: T, key: K): Partial<Pick<T, K>> {
  return source[key] === undefined || source[key] === '' ? {} : ({ [key]: source[key] } as Pick<T, K>);
}
