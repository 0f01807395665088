import { formatApiVersion, type ResourceRow } from '../../api/resources.ts';
import type { StateObject } from '../store/resource-state.ts';
import { type Codec, checkIssues, decodeBody, mediaTypeOf, readBody, wantsDuplicates } from './body.ts';
import { addWarnings, type Call, isDryRun } from './call.ts';
import { convertIn, convertOut, storedRowOf } from './conversions.ts';
import { type PatchFunctions, parsePatch } from './patcher.ts';
import type { Registry } from './registry.ts';
import { badRequest, conflict, invalid, MODIFIED } from './status-errors.ts';
import { type AnyObject, strategyOf } from './strategies.ts';
import type { WriteTarget } from './write-target.ts';

export interface WriteDependencies {
  readonly registry: Registry;
  readonly codec: Codec;
  readonly loadPatches: () => Promise<PatchFunctions>;
}

/** POST of an object: 201. */
export async function createObject(dependencies: WriteDependencies, call: Call): Promise<StateObject> {
  const object = await readObject(dependencies.codec, call, call.row);
  const { namespace } = call.info;
  checkNamespace(object, call);
  const given = (object.metadata ?? {}) as { name?: string };
  const target = targetOf(call, { namespace: call.row.namespaced ? namespace : '', name: given.name ?? '' });
  return dependencies.registry.create(target, (convertIn(call.row)?.(object) ?? object) as AnyObject);
}

/** PUT of an object or of a part of it: 200, or 201 when it was created. */
export async function updateObject(
  dependencies: WriteDependencies,
  call: Call,
): Promise<{ readonly object: StateObject; readonly isCreated: boolean }> {
  const { name, subresource } = call.info;
  const object = await readObject(dependencies.codec, call, call.row);
  checkNamespace(object, call);
  const given = object.metadata?.name ?? '';
  if (given !== name) {
    throw badRequest(`the name of the object (${given}) does not match the name on the URL (${name})`);
  }
  const strategy = strategyOf(storedRowOf(call.row));
  const revision = object.metadata?.resourceVersion ?? '';
  return dependencies.registry.update(targetOf(call), {
    isConditional: revision !== '',
    canCreate: strategy.createsOnUpdate === true && subresource === '',
    change: (current) => {
      if (current.metadata) checkPreconditions(call.row, object, current);
      const copy = structuredClone(object);
      return (convertIn(call.row)?.(copy) ?? copy) as AnyObject;
    },
  });
}

/** PATCH: the patch is applied to the newest state, again after a conflict. */
export async function patchObject(dependencies: WriteDependencies, call: Call): Promise<StateObject> {
  const body = await readBody(call.request);
  const patch = parsePatch(await dependencies.loadPatches(), mediaTypeOf(call.request), body);
  const written = await dependencies.registry.update(targetOf(call), {
    isConditional: false,
    change: (current) => {
      const shown = (convertOut(call.row)?.(current) ?? current) as AnyObject;
      const before = { metadata: { ...shown.metadata } };
      const patched = patch.apply(shown, call.row) as AnyObject;
      const object = redecode(dependencies.codec, call, patched);
      checkPatched(call, object, before);
      return (convertIn(call.row)?.(object) ?? object) as AnyObject;
    },
  });
  return written.object;
}

/** The target of a write as the request names it. */
export function targetOf(
  call: Call,
  place: { readonly namespace?: string; readonly name?: string } = {},
): WriteTarget {
  const row = storedRowOf(call.row);
  return {
    row,
    namespace: place.namespace ?? (row.namespaced ? call.info.namespace : ''),
    name: place.name ?? call.info.name,
    subresource: call.info.subresource,
    user: call.user,
    isDryRun: isDryRun(call.info.query),
  };
}

/** Reads the body as an object of a row, or of another kind for subresources. @throws StatusError 400, 415 */
export async function readObject(
  codec: Codec,
  call: Call,
  expected: Pick<ResourceRow, 'group' | 'version' | 'kind'>,
): Promise<AnyObject> {
  const body = await readBody(call.request);
  if (body.length === 0) throw badRequest('EOF');
  const apiVersion = formatApiVersion(expected);
  const type = { apiVersion, kind: expected.kind, reportDuplicates: wantsDuplicates(call.info.query) };
  const { object, issues } = await decodeBody(codec, body, mediaTypeOf(call.request), type);
  if (
    (object.kind && object.kind !== expected.kind) ||
    (object.apiVersion && object.apiVersion !== apiVersion)
  ) {
    throw badRequest(
      `the object provided is unrecognized (must be of type ${expected.kind}): found ${object.apiVersion}, Kind=${object.kind}`,
    );
  }
  addWarnings(call.response, checkIssues(issues, call.info.query));
  return object as AnyObject;
}

function checkNamespace(object: AnyObject, call: Call): void {
  const given = object.metadata?.namespace ?? '';
  if (!call.row.namespaced || given === '' || given === call.info.namespace) return;
  throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
}

function checkPreconditions(row: ResourceRow, object: AnyObject, current: AnyObject): void {
  const name = current.metadata?.name ?? '';
  const { uid, resourceVersion = '' } = object.metadata ?? {};
  if (uid && uid !== current.metadata?.uid) {
    throw conflict(
      row,
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${current.metadata?.uid}`,
    );
  }
  if (resourceVersion === '' && strategyOf(row).needsRevision) {
    throw invalid(row, name, [
      {
        reason: 'FieldValueInvalid',
        message: 'Invalid value: 0: must be specified for an update',
        field: 'metadata.resourceVersion',
      },
    ]);
  }
  if (resourceVersion !== '' && resourceVersion !== current.metadata?.resourceVersion) {
    throw conflict(row, name, MODIFIED);
  }
}

function redecode(codec: Codec, call: Call, patched: AnyObject): AnyObject {
  const { row } = call;
  const { object, issues } = codec.decodeValue(patched, formatApiVersion(row), row.kind);
  addWarnings(call.response, checkIssues(issues, call.info.query));
  return object as AnyObject;
}

function checkPatched(call: Call, object: AnyObject, before: AnyObject): void {
  const { name } = call.info;
  const given = object.metadata ?? {};
  if (given.name !== before.metadata?.name) {
    throw badRequest(`the name of the object (${given.name}) does not match the name on the URL (${name})`);
  }
  if (given.resourceVersion && given.resourceVersion !== before.metadata?.resourceVersion) {
    throw conflict(call.row, name, MODIFIED);
  }
  if (given.uid && given.uid !== before.metadata?.uid) {
    throw conflict(
      call.row,
      name,
      `Precondition failed: UID in precondition: ${given.uid}, UID in object meta: ${before.metadata?.uid}`,
    );
  }
}
