import { formatStoredObject, insertRevision } from '../store/object-bytes.ts';
import type { StateObject } from '../store/resource-state.ts';
import type { AnyObject } from './strategies.ts';

/**
 * True when the object says what the stored one says. Clients write keys in another order: only then is a closer look
 * needed.
 */
export function isSame(object: AnyObject, current: StateObject): boolean {
  const bytes = insertRevision(formatStoredObject(object), current.revision);
  if (bytes.length !== current.bytes.length) return false;
  if (bytes.equals(current.bytes)) return true;
  return canonical(JSON.parse(bytes.toString())) === canonical(current.object);
}

/** Raises metadata.generation, in place, when more than metadata and status differs. */
export function countGeneration(object: AnyObject, old: AnyObject): void {
  if (!object.metadata || contentOf(object) === contentOf(old)) return;
  object.metadata = { ...object.metadata, generation: (old.metadata?.generation ?? 0) + 1 };
}

function contentOf(object: AnyObject): string {
  const { kind: _k, apiVersion: _a, metadata: _m, status: _s, ...content } = object;
  return canonical(content);
}

function canonical(value: unknown): string {
  return JSON.stringify(sortKeys(value));
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sortKeys(item)]),
  );
}
