import { isDeepStrictEqual } from 'node:util';
import { badRequest, RequestError } from './request-error.ts';
import { isJsonObject, type JsonObject } from './schema/types.ts';

/** A 422 Invalid: the patch is well-formed but does not apply to the object. */
function unprocessable(message: string): RequestError {
  return new RequestError(422, message, { reason: 'Invalid' });
}

/** Members of a JSON patch operation (RFC 6902 §4). */
interface Operation {
  readonly op: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

const OPERATIONS: ReadonlySet<string> = new Set(['add', 'remove', 'replace', 'move', 'copy', 'test']);
const MAX_OPERATIONS = 10_000;

function parseOperations(patch: unknown): readonly Operation[] {
  if (!Array.isArray(patch))
    throw badRequest(
      'error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch',
    );
  if (patch.length > MAX_OPERATIONS)
    throw new RequestError(
      422,
      `The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${patch.length}`,
      { reason: 'Invalid' },
    );
  return patch.map((item) => {
    if (!isJsonObject(item) || typeof item['op'] !== 'string' || !OPERATIONS.has(item['op']))
      throw unprocessable(`Unexpected kind: ${isJsonObject(item) ? String(item['op']) : 'unknown'}`);
    if (typeof item['path'] !== 'string') throw unprocessable('missing path in JSON patch operation');
    return item as unknown as Operation;
  });
}

/** Reference tokens of a JSON pointer (RFC 6901 §4). */
function parsePointer(pointer: string): readonly string[] {
  if (pointer === '') return [];
  if (pointer[0] !== '/') throw unprocessable(`JSON pointer ${JSON.stringify(pointer)} must start with "/"`);
  return pointer
    .slice(1)
    .split('/')
    .map((token) => token.replace(/~1/g, '/').replace(/~0/g, '~'));
}

function missing(operation: string, pointer: string): RequestError {
  return unprocessable(
    `the server rejected our request due to an error in our request: ${operation} operation does not apply: doc is missing path: ${JSON.stringify(pointer)}: missing value`,
  );
}

function parseIndex(token: string, length: number): number | undefined {
  if (!/^(0|[1-9]\d*)$/.test(token)) return undefined;
  const index = Number(token);
  return index < length ? index : undefined;
}

function readChild(parent: unknown, token: string): { readonly value: unknown } | undefined {
  if (Array.isArray(parent)) {
    const index = parseIndex(token, parent.length);
    return index === undefined ? undefined : { value: parent[index] };
  }
  return isJsonObject(parent) && Object.hasOwn(parent, token) ? { value: parent[token] } : undefined;
}

function readPointer(root: unknown, pointer: string, operation: string): unknown {
  let value = root;
  for (const token of parsePointer(pointer)) {
    const child = readChild(value, token);
    if (!child) throw missing(operation, pointer);
    value = child.value;
  }
  return value;
}

/** The container of the last token, and that token. */
function locate(
  root: unknown,
  pointer: string,
  operation: string,
): readonly [JsonObject | unknown[], string] {
  const tokens = parsePointer(pointer);
  const last = tokens.at(-1);
  if (last === undefined) throw missing(operation, pointer);
  const parent = readPointer(root, pointer.slice(0, pointer.lastIndexOf('/')), operation);
  if (!Array.isArray(parent) && !isJsonObject(parent)) throw missing(operation, pointer);
  return [parent, last];
}

/** Writes own properties only, also "__proto__". */
function setMember(parent: JsonObject, key: string, value: unknown): void {
  Object.defineProperty(parent, key, { value, writable: true, enumerable: true, configurable: true });
}

function addValue(root: unknown, pointer: string, value: unknown): unknown {
  if (pointer === '') return value;
  const [parent, token] = locate(root, pointer, 'add');
  if (!Array.isArray(parent)) setMember(parent, token, value);
  else if (token === '-') parent.push(value);
  else {
    const index = parseIndex(token, parent.length + 1);
    if (index === undefined) throw missing('add', pointer);
    parent.splice(index, 0, value);
  }
  return root;
}

function removeValue(root: unknown, pointer: string, operation = 'remove'): unknown {
  const [parent, token] = locate(root, pointer, operation);
  if (!readChild(parent, token)) throw missing(operation, pointer);
  if (Array.isArray(parent)) parent.splice(Number(token), 1);
  else delete parent[token];
  return root;
}

function replaceValue(root: unknown, pointer: string, value: unknown): unknown {
  if (pointer === '') return value;
  const [parent, token] = locate(root, pointer, 'replace');
  if (!readChild(parent, token)) throw missing('replace', pointer);
  if (Array.isArray(parent)) parent[Number(token)] = value;
  else setMember(parent, token, value);
  return root;
}

function testValue(root: unknown, { path, value = null }: Operation): unknown {
  let found: unknown;
  try {
    found = readPointer(root, path, 'test');
  } catch (error) {
    if (value !== null) throw error;
    return root;
  }
  if (isDeepStrictEqual(found, value)) return root;
  throw unprocessable(
    `the server rejected our request due to an error in our request: testing value ${path} failed: test failed`,
  );
}

function applyOperation(root: unknown, operation: Operation): unknown {
  const { op, path, from = '' } = operation;
  switch (op) {
    case 'add':
      return addValue(root, path, structuredClone(operation.value ?? null));
    case 'remove':
      return removeValue(root, path);
    case 'replace':
      return replaceValue(root, path, structuredClone(operation.value ?? null));
    case 'move': {
      if (`${path}/`.startsWith(`${from}/`) && path !== from)
        throw unprocessable(`cannot move ${from} into itself at ${path}`);
      const value = readPointer(root, from, 'move');
      return addValue(removeValue(root, from, 'move'), path, value);
    }
    case 'copy':
      return addValue(root, path, structuredClone(readPointer(root, from, 'copy')));
    default:
      return testValue(root, operation);
  }
}

function requireObject(value: unknown): JsonObject {
  if (!isJsonObject(value)) throw unprocessable('the patched document is not an object');
  return value;
}

/**
 * The object after a JSON patch; `original` stays as it is (RFC 6902).
 * @throws RequestError 400 when the patch is no list, 422 when an operation does not apply.
 */
export function applyJsonPatch(original: JsonObject, patch: unknown): JsonObject {
  let root: unknown = structuredClone(original);
  for (const operation of parseOperations(patch)) root = applyOperation(root, operation);
  return requireObject(root);
}

function mergeValue(target: unknown, patch: unknown): unknown {
  if (!isJsonObject(patch)) return patch;
  const result: JsonObject = isJsonObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else setMember(result, key, mergeValue(Object.hasOwn(result, key) ? result[key] : undefined, value));
  }
  return result;
}

/**
 * The object after a merge patch; `original` stays as it is, with parts of it shared (RFC 7386).
 * @throws RequestError 400 when the patch is not an object.
 */
export function applyMergePatch(original: JsonObject, patch: unknown): JsonObject {
  if (!isJsonObject(patch)) throw badRequest('error decoding patch: a merge patch must be a JSON object');
  return requireObject(mergeValue(original, patch));
}
