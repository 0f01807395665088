import type { RawObject } from './documents.ts';

/** True for an object that is no list. */
export function isMapping(value: unknown): value is RawObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value at a dotted path; undefined when nothing is there. */
export function readField(document: unknown, path: string): unknown {
  return path.split('.').reduce((value, key) => (isMapping(value) ? value[key] : undefined), document);
}
