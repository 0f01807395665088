import type { JsonObject } from './schema/types.ts';

/** Fields and the values that they take when they are not set. */
export type DefaultValues = Readonly<Record<string, unknown>>;

/** Sets the fields that an object has not, or has empty. */
export function fill(object: JsonObject | undefined, values: DefaultValues): void {
  if (!object) return;
  for (const [key, value] of Object.entries(values)) {
    if (isUnset(object[key])) object[key] = structuredClone(value);
  }
}

/** Sets one field that an object has not, or has empty. */
export function setDefault(object: JsonObject, key: string, value: unknown): void {
  if (isUnset(object[key])) object[key] = value;
}

function isUnset(value: unknown): boolean {
  return value === undefined || value === null || value === '';
}
