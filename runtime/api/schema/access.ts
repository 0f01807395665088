import { isJsonObject, type JsonObject } from './types.ts';

/** The member `key` when it is an object, else undefined. */
export function getObject(parent: unknown, key: string): JsonObject | undefined {
  const value = isJsonObject(parent) ? parent[key] : undefined;
  return isJsonObject(value) ? value : undefined;
}

/** The objects of the list `key`; [] when there is none. */
export function getObjects(parent: unknown, key: string): JsonObject[] {
  const value = isJsonObject(parent) ? parent[key] : undefined;
  return Array.isArray(value) ? value.filter(isJsonObject) : [];
}

/** The member `key` when it is text, else "". */
export function getString(parent: unknown, key: string): string {
  const value = isJsonObject(parent) ? parent[key] : undefined;
  return typeof value === 'string' ? value : '';
}

/** The member `key` when it is a number, else undefined. */
export function getNumber(parent: unknown, key: string): number | undefined {
  const value = isJsonObject(parent) ? parent[key] : undefined;
  return typeof value === 'number' ? value : undefined;
}

/** The texts of the list `key`; [] when there is none. */
export function getStrings(parent: unknown, key: string): string[] {
  const value = isJsonObject(parent) ? parent[key] : undefined;
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : [];
}

/** The texts of the map `key`; {} when there is none. */
export function getStringMap(parent: unknown, key: string): Record<string, string> {
  const value = getObject(parent, key);
  if (!value) return {};
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

/** The member `key`, made an empty object first when it is missing. */
export function ensureObject(parent: JsonObject, key: string): JsonObject {
  const value = parent[key];
  if (isJsonObject(value)) return value;
  const made: JsonObject = {};
  parent[key] = made;
  return made;
}
