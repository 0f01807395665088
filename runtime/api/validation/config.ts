import { isDeepStrictEqual } from 'node:util';
import { getObject, getString } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import { type Findings, forbidden, invalid, required, tooLong } from './field-error.ts';
import { immutable } from './metadata.ts';
import { checkConfigKey } from './names.ts';

const MAX_BYTES = 1024 * 1024;
const IMMUTABLE_OBJECT = 'field is immutable when `immutable` is set';

function* validateKeys(data: JsonObject | undefined, field: string): Findings {
  for (const key of Object.keys(data ?? {})) {
    const problem = checkConfigKey(key);
    if (problem) yield invalid(`${field}[${key}]`, key, problem);
  }
}

function sizeOf(data: JsonObject | undefined, isBase64: boolean): number {
  let bytes = 0;
  for (const value of Object.values(data ?? {}))
    bytes += Buffer.byteLength(String(value), isBase64 ? 'base64' : 'utf8');
  return bytes;
}

function* validateImmutable(
  object: JsonObject,
  old: JsonObject | undefined,
  keys: readonly string[],
): Findings {
  if (old?.['immutable'] !== true) return;
  if (object['immutable'] !== true) yield forbidden('immutable', IMMUTABLE_OBJECT);
  for (const key of keys) {
    const [now, before] = [getObject(object, key) ?? {}, getObject(old, key) ?? {}];
    if (!isDeepStrictEqual(now, before)) yield forbidden(key, IMMUTABLE_OBJECT);
  }
}

/** Findings about a ConfigMap. */
export function* validateConfigMap(object: JsonObject, old: JsonObject | undefined): Findings {
  const [data, binary] = [getObject(object, 'data'), getObject(object, 'binaryData')];
  yield* validateKeys(data, 'data');
  yield* validateKeys(binary, 'binaryData');
  for (const key of Object.keys(binary ?? {}))
    if (data && Object.hasOwn(data, key))
      yield invalid(`data[${key}]`, key, 'duplicate of key present in binaryData');
  if (sizeOf(data, false) + sizeOf(binary, true) > MAX_BYTES) yield tooLong('', MAX_BYTES);
  yield* validateImmutable(object, old, ['data', 'binaryData']);
}

/** Keys that a Secret of a type must have; a list of lists: one of each. */
const SECRET_KEYS: Readonly<Record<string, readonly string[]>> = {
  'kubernetes.io/dockercfg': ['.dockercfg'],
  'kubernetes.io/dockerconfigjson': ['.dockerconfigjson'],
  'kubernetes.io/ssh-auth': ['ssh-privatekey'],
  'kubernetes.io/tls': ['tls.crt', 'tls.key'],
};

const ACCOUNT_ANNOTATION = 'kubernetes.io/service-account.name';

function* validateSecretType(object: JsonObject): Findings {
  const type = getString(object, 'type');
  const data = getObject(object, 'data') ?? {};
  for (const key of SECRET_KEYS[type] ?? []) if (!Object.hasOwn(data, key)) yield required(`data[${key}]`);
  if (type === 'kubernetes.io/basic-auth' && !('username' in data) && !('password' in data)) {
    yield required('data[username]');
    yield required('data[password]');
  }
  if (type === 'kubernetes.io/service-account-token') {
    const annotations = getObject(getObject(object, 'metadata'), 'annotations');
    if (!getString(annotations, ACCOUNT_ANNOTATION))
      yield required(`metadata.annotations[${ACCOUNT_ANNOTATION}]`);
  }
  const config = data['.dockerconfigjson'];
  if (type === 'kubernetes.io/dockerconfigjson' && typeof config === 'string' && !isBase64Json(config))
    yield invalid('data[.dockerconfigjson]', '<secret contents redacted>', 'invalid character in JSON');
}

function isBase64Json(text: string): boolean {
  try {
    JSON.parse(Buffer.from(text, 'base64').toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

/** Findings about a Secret. */
export function* validateSecret(object: JsonObject, old: JsonObject | undefined): Findings {
  const data = getObject(object, 'data');
  yield* validateKeys(data, 'data');
  if (sizeOf(data, true) > MAX_BYTES) yield tooLong('data', MAX_BYTES);
  yield* validateSecretType(object);
  if (old && getString(old, 'type') !== getString(object, 'type')) yield immutable('type', object['type']);
  yield* validateImmutable(object, old, ['data']);
}
