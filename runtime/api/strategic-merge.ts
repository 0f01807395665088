import { isDeepStrictEqual } from 'node:util';
import { badRequest } from './request-error.ts';
import { findType } from './schema/registry.ts';
import { type FieldSchema, isJsonObject, type JsonObject, type TypeSchema } from './schema/types.ts';

/*
 * A strategic merge patch is a merge patch whose lists merge where the type says so:
 *
 *   $patch: replace | delete | merge        in an object, or as an element of a list of objects
 *   $retainKeys: [names]                    members of the object that stay, the rest goes
 *   $deleteFromPrimitiveList/NAME: [values] values that leave the list NAME
 *   $setElementOrder/NAME: [...]            order of the merged list NAME: values, or objects with the merge key
 *
 * (Kubernetes community document "strategic-merge-patch.md")
 */
const PATCH = '$patch';
const RETAIN_KEYS = '$retainKeys';
const DELETE_PREFIX = '$deleteFromPrimitiveList/';
const ORDER_PREFIX = '$setElementOrder/';

function typeOfField(field: FieldSchema | undefined): TypeSchema | undefined {
  if (!field) return undefined;
  const { type } = field;
  if (type.kind === 'ref') return findType(type.type);
  if (type.kind === 'array' && type.items.kind === 'ref') return findType(type.items.type);
  if (type.kind === 'map' && type.values.kind === 'ref') return findType(type.values.type);
  return undefined;
}

function isDirective(key: string): boolean {
  return (
    key === PATCH || key === RETAIN_KEYS || key.startsWith(DELETE_PREFIX) || key.startsWith(ORDER_PREFIX)
  );
}

/** A value of the patch without nulls and directives, for places where nothing was before. */
function stripDirectives(value: unknown, type: TypeSchema | undefined): unknown {
  if (isJsonObject(value)) return mergeObject({}, value, type);
  if (!Array.isArray(value)) return value;
  return value
    .filter((item) => !(isJsonObject(item) && (item[PATCH] === 'delete' || item[PATCH] === 'replace')))
    .map((item) => stripDirectives(item, type));
}

function directiveOf(patch: JsonObject): string | undefined {
  const directive = patch[PATCH];
  if (directive === undefined) return undefined;
  if (directive !== 'replace' && directive !== 'delete' && directive !== 'merge')
    throw badRequest(`Unknown patch type found: ${String(directive)}`);
  return directive;
}

function retainKeys(original: JsonObject, patch: JsonObject): JsonObject {
  const keys = patch[RETAIN_KEYS];
  if (keys === undefined) return { ...original };
  if (!Array.isArray(keys)) throw badRequest(`${RETAIN_KEYS} must be a list of strings`);
  const alien = Object.keys(patch).find(
    (key) => !isDirective(key) && patch[key] !== null && !keys.includes(key),
  );
  if (alien !== undefined)
    throw badRequest(`key ${JSON.stringify(alien)} of the patch is not in its ${RETAIN_KEYS} list`);
  return Object.fromEntries(Object.entries(original).filter(([key]) => keys.includes(key)));
}

function withoutDirectives(patch: JsonObject, type: TypeSchema | undefined): JsonObject {
  const { [PATCH]: _directive, ...rest } = patch;
  return mergeObject({}, rest, type);
}

function mergeObject(original: JsonObject, patch: JsonObject, type: TypeSchema | undefined): JsonObject {
  const directive = directiveOf(patch);
  if (directive === 'replace') return withoutDirectives(patch, type);
  if (directive === 'delete') return {};
  const result = retainKeys(original, patch);
  for (const [key, value] of Object.entries(patch)) {
    if (isDirective(key)) continue;
    if (value === null) delete result[key];
    else
      Object.defineProperty(result, key, {
        value: mergeField(result[key], value, type?.fields.get(key), orderedBy(patch, key)),
        writable: true,
        enumerable: true,
        configurable: true,
      });
  }
  applyListDirectives(result, patch, type);
  return result;
}

function orderedBy(patch: JsonObject, key: string): readonly unknown[] | undefined {
  const order = patch[ORDER_PREFIX + key];
  return Array.isArray(order) ? order : undefined;
}

/** Deletions from primitive lists, and orders for lists that the patch itself leaves alone. */
function applyListDirectives(result: JsonObject, patch: JsonObject, type: TypeSchema | undefined): void {
  for (const [key, values] of Object.entries(patch)) {
    if (key.startsWith(DELETE_PREFIX)) {
      const name = key.slice(DELETE_PREFIX.length);
      const list = result[name];
      if (!Array.isArray(values)) throw badRequest(`${key} must be a list`);
      if (Array.isArray(list)) result[name] = list.filter((item) => !values.includes(item));
    }
    if (!key.startsWith(ORDER_PREFIX)) continue;
    const name = key.slice(ORDER_PREFIX.length);
    const list = result[name];
    if (!Array.isArray(values)) throw badRequest(`${key} must be a list`);
    if (patch[name] === undefined && Array.isArray(list))
      result[name] = sortByOrder(list, values, list, type?.fields.get(name)?.mergeKey);
  }
}

function mergeField(
  original: unknown,
  patch: unknown,
  field: FieldSchema | undefined,
  order: readonly unknown[] | undefined,
): unknown {
  const type = typeOfField(field);
  if (isJsonObject(patch)) {
    if (field?.patchStrategies.includes('replace')) return patch;
    const before = isJsonObject(original) ? original : {};
    return field?.type.kind === 'map' ? mergeMap(before, patch, type) : mergeObject(before, patch, type);
  }
  if (!Array.isArray(patch)) return patch;
  if (!field?.patchStrategies.includes('merge')) return stripDirectives(patch, type);
  return mergeList(Array.isArray(original) ? original : [], patch, field, order);
}

function mergeMap(original: JsonObject, patch: JsonObject, type: TypeSchema | undefined): JsonObject {
  if (directiveOf(patch) !== undefined || !type) return mergeObject(original, patch, undefined);
  const result = { ...original };
  for (const [key, value] of Object.entries(patch)) {
    const before = result[key];
    if (value === null) delete result[key];
    else if (isJsonObject(value)) result[key] = mergeObject(isJsonObject(before) ? before : {}, value, type);
    else result[key] = value;
  }
  return result;
}

function mergeList(
  original: readonly unknown[],
  patch: readonly unknown[],
  field: FieldSchema,
  order: readonly unknown[] | undefined,
): unknown[] {
  const { mergeKey } = field;
  const merged = mergeKey
    ? mergeObjectList(original, patch, mergeKey, typeOfField(field))
    : [...original, ...patch.filter((item) => !original.some((old) => isDeepStrictEqual(old, item)))];
  return order ? sortByOrder(merged, order, original, mergeKey) : merged;
}

function keyOf(item: unknown, mergeKey: string): unknown {
  return isJsonObject(item) ? item[mergeKey] : undefined;
}

function mergeObjectList(
  original: readonly unknown[],
  patch: readonly unknown[],
  mergeKey: string,
  type: TypeSchema | undefined,
): unknown[] {
  if (patch.some((item) => isJsonObject(item) && directiveOf(item) === 'replace'))
    return patch
      .filter((item) => !(isJsonObject(item) && item[PATCH] === 'replace' && Object.keys(item).length === 1))
      .map((item) => (isJsonObject(item) ? withoutDirectives(item, type) : item));
  const result = [...original];
  for (const item of patch) {
    if (!isJsonObject(item)) throw badRequest('a list of objects cannot be merged with a value');
    const key = item[mergeKey];
    if (key === undefined)
      throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${mergeKey}`);
    mergeElement(result, item, { mergeKey, key, type });
  }
  return result;
}

function mergeElement(
  list: unknown[],
  item: JsonObject,
  options: { readonly mergeKey: string; readonly key: unknown; readonly type: TypeSchema | undefined },
): void {
  const { mergeKey, key, type } = options;
  const index = list.findIndex((old) => keyOf(old, mergeKey) === key);
  if (directiveOf(item) === 'delete') {
    if (index >= 0) list.splice(index, 1);
    return;
  }
  const { [PATCH]: _directive, ...rest } = item;
  const before = index >= 0 ? list[index] : undefined;
  const merged = mergeObject(isJsonObject(before) ? before : {}, rest, type);
  if (index >= 0) list[index] = merged;
  else list.push(merged);
}

/**
 * `merged` with the elements of `order` in that order; the others keep their place relative to their
 * neighbours in `original`.
 */
function sortByOrder(
  merged: readonly unknown[],
  order: readonly unknown[],
  original: readonly unknown[],
  mergeKey: string | undefined,
): unknown[] {
  const identify = (item: unknown): unknown => (mergeKey ? keyOf(item, mergeKey) : item);
  const wanted = order.map(identify);
  const placed = wanted.flatMap((key) => merged.filter((item) => identify(item) === key));
  const rest = merged.filter((item) => !wanted.includes(identify(item)));
  const originalKeys = original.map(identify);
  const result: unknown[] = [];
  let next = 0;
  for (const item of rest) {
    const position = originalKeys.indexOf(identify(item));
    while (next < placed.length && position >= 0) {
      const other = originalKeys.indexOf(identify(placed[next]));
      if (other < 0 || other > position) break;
      result.push(placed[next]);
      next += 1;
    }
    result.push(item);
  }
  return [...result, ...placed.slice(next)];
}

/**
 * The object after a strategic merge patch; `original` stays as it is, with parts of it shared.
 * @param typeName of the object in the tables: "apps.v1.Deployment".
 * @throws RequestError 400 for unknown directives and elements without their merge key.
 */
export function applyStrategicMergePatch(
  original: JsonObject,
  patch: JsonObject,
  typeName: string,
): JsonObject {
  if (!isJsonObject(patch)) throw badRequest('error decoding patch: the patch must be a JSON object');
  return mergeObject(original, patch, findType(typeName));
}
