import { isDeepStrictEqual } from 'node:util';
import { getObject, getObjects, getString, getStringMap } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import { type Findings, forbidden } from './field-error.ts';

const FIELD = 'spec.ephemeralContainers';
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

/** Findings about a write of pods/ephemeralcontainers: containers are only ever added, and not to static pods. */
export function* validateEphemeralUpdate(pod: JsonObject, old: JsonObject): Findings {
  if (getStringMap(getObject(old, 'metadata'), 'annotations')[MIRROR_ANNOTATION] !== undefined) {
    yield forbidden('', 'static pods do not support ephemeral containers');
    return;
  }
  const given = new Map(containersOf(pod).map((container) => [getString(container, 'name'), container]));
  for (const container of containersOf(old)) {
    const name = getString(container, 'name');
    const found = given.get(name);
    const state = found ? !isDeepStrictEqual(plain(found), plain(container)) && 'changed' : 'removed';
    if (state) yield forbidden(FIELD, `existing ephemeral containers "${name}" may not be ${state}\n`);
  }
}

function containersOf(pod: JsonObject): readonly JsonObject[] {
  return getObjects(getObject(pod, 'spec'), 'ephemeralContainers');
}

/** Without fields that are there and undefined. */
function plain(container: JsonObject): unknown {
  return JSON.parse(JSON.stringify(container));
}
