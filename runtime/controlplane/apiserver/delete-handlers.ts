import { formatTime } from '../../api/time.ts';
import type { StateObject } from '../store/resource-state.ts';
import { type Codec, decodeBody, mediaTypeOf, readBody } from './body.ts';
import { type Call, isDryRun } from './call.ts';
import { storedRowOf } from './conversions.ts';
import type { Registry } from './registry.ts';
import { badRequest, conflict, MODIFIED, notFound } from './status-errors.ts';
import { type AnyObject, strategyOf } from './strategies.ts';
import { isSelected, type Selection } from './watch-hub.ts';
import { targetOf } from './write-handlers.ts';
import type { WriteTarget } from './write-target.ts';

/** `metav1.DeleteOptions`, from the body or the query. */
export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: string;
  readonly orphanDependents?: boolean;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly dryRun?: readonly string[];
}

/** What became of an object: it is gone, or it waits for finalizers or its grace period. */
export interface Deletion {
  readonly object: StateObject;
  readonly isGone: boolean;
}

const POLICIES = ['Orphan', 'Background', 'Foreground'];
const RETRIES = 8;
const DEFAULT_GRACE_SECONDS = 30;

/** Reads the options of a DELETE. @throws StatusError 400, 415 */
export async function readDeleteOptions(codec: Codec, call: Call): Promise<DeleteOptions> {
  const body = await readBody(call.request);
  const fromBody = body.length > 0 ? await decodeOptions(codec, call, body) : {};
  const query = call.info.query;
  const grace = query.get('gracePeriodSeconds');
  const policy = query.get('propagationPolicy');
  const orphan = query.get('orphanDependents');
  const options = {
    ...fromBody,
    ...(grace !== null ? { gracePeriodSeconds: Number(grace) } : {}),
    ...(policy ? { propagationPolicy: policy } : {}),
    ...(orphan !== null ? { orphanDependents: orphan === 'true' } : {}),
  };
  if (options.propagationPolicy && !POLICIES.includes(options.propagationPolicy)) {
    throw badRequest(
      `propagationPolicy: Unsupported value: "${options.propagationPolicy}": supported values: "Foreground", "Background", "Orphan"`,
    );
  }
  return options;
}

/** Deletes one object. @throws StatusError 404, 409 */
export async function deleteObject(
  registry: Registry,
  call: Call,
  options: DeleteOptions,
  place: { readonly namespace?: string; readonly name?: string } = {},
): Promise<Deletion> {
  const base = targetOf(call, place);
  const target = { ...base, isDryRun: base.isDryRun || isDryRun(call.info.query, options.dryRun ?? []) };
  return registry.exclusively(target, () => deleteTarget(registry, call, target, options));
}

async function deleteTarget(
  registry: Registry,
  call: Call,
  target: WriteTarget,
  options: DeleteOptions,
): Promise<Deletion> {
  for (let attempt = 0; attempt < RETRIES; attempt += 1) {
    const current = registry.find(target);
    if (!current) throw notFound(call.row, target.name);
    checkPreconditions(target, current, options);
    const change = { operation: 'DELETE', object: undefined, oldObject: current.object } as const;
    const deletion = await registry.admit(target, change, () =>
      deleteOnce(registry, target, current, options),
    );
    if (deletion) return deletion;
    await registry.state.store.confirm();
  }
  throw conflict(call.row, target.name, MODIFIED);
}

/** Deletes all objects of a selection; returns what was found. */
export async function deleteCollection(
  registry: Registry,
  call: Call,
  selection: Selection,
  options: DeleteOptions,
): Promise<readonly StateObject[]> {
  const resource = registry.state.resource(storedRowOf(call.row));
  const found = resource.list(selection.namespace).filter((object) => isSelected(object, selection));
  await Promise.all(
    found.map(async ({ namespace, object }) => {
      try {
        await deleteObject(registry, call, options, { namespace, name: object.metadata?.name ?? '' });
      } catch (error) {
        // Somebody else was faster: gone is what was asked for.
        if ((error as { code?: number }).code !== 404) throw error;
      }
    }),
  );
  return found;
}

/** The `Status` that tells of an object that is gone. */
export function formatDeletionStatus(call: Call, object: StateObject): object {
  const { name, uid } = object.object.metadata ?? {};
  const { group, plural } = call.row;
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { name, ...(group ? { group } : {}), kind: plural, uid },
  };
}

async function deleteOnce(
  registry: Registry,
  target: WriteTarget,
  current: StateObject,
  options: DeleteOptions,
): Promise<Deletion | undefined> {
  const object = current.parse<AnyObject>();
  const graceSeconds = target.row.plural === 'pods' && target.row.group === '' ? graceOf(object, options) : 0;
  const finalizers = finalizersAfter(target, object, options);
  const metadata = object.metadata ?? {};
  const isNamespace = object.kind === 'Namespace';
  const specFinalizers = (object.spec?.['finalizers'] ?? []) as readonly string[];
  const mustWait = graceSeconds > 0 || finalizers.length > 0 || (isNamespace && specFinalizers.length > 0);
  if (!mustWait) {
    const removed = await registry.remove(target, current);
    return removed && { object: removed, isGone: true };
  }
  const isFirst = metadata.deletionTimestamp === undefined;
  const isShorter = graceSeconds < (metadata.deletionGracePeriodSeconds ?? 0);
  object.metadata = {
    ...metadata,
    ...(isFirst || isShorter ? deletionMetadata(registry.now(), graceSeconds, metadata.generation) : {}),
    ...(finalizers.length > 0 ? { finalizers: [...finalizers] } : {}),
  };
  if (isNamespace) object.status = { ...object.status, phase: 'Terminating' };
  const stored = await registry.store(target, object, current);
  return stored && { object: stored, isGone: false };
}

function deletionMetadata(now: Date, graceSeconds: number, generation: number | undefined): object {
  return {
    deletionTimestamp: formatTime(new Date(now.getTime() + graceSeconds * 1000)),
    deletionGracePeriodSeconds: graceSeconds,
    ...(generation === undefined ? {} : { generation: generation + 1 }),
  };
}

function graceOf(pod: AnyObject, options: DeleteOptions): number {
  const phase = pod.status?.['phase'];
  const isBound = Boolean(pod.spec?.['nodeName']);
  if (!isBound || phase === 'Succeeded' || phase === 'Failed') return 0;
  const asked =
    options.gracePeriodSeconds ?? (pod.spec?.['terminationGracePeriodSeconds'] as number | undefined);
  const seconds = Math.max(0, asked ?? DEFAULT_GRACE_SECONDS);
  const running = pod.metadata?.deletionTimestamp ? pod.metadata.deletionGracePeriodSeconds : undefined;
  return running === undefined ? seconds : Math.min(seconds, running);
}

function finalizersAfter(target: WriteTarget, object: AnyObject, options: DeleteOptions): readonly string[] {
  const strategy = strategyOf(target.row);
  const isOrphaning =
    options.orphanDependents ?? (options.propagationPolicy === undefined && strategy.orphansByDefault);
  const policy = isOrphaning ? 'Orphan' : (options.propagationPolicy ?? 'Background');
  const before = object.metadata?.finalizers ?? [];
  const hasOwn = options.propagationPolicy === undefined && options.orphanDependents === undefined;
  // A finalizer of an earlier request stays when this one has no opinion.
  if (hasOwn && before.some((name) => name === 'orphan' || name === 'foregroundDeletion')) return before;
  const others = before.filter((name) => name !== 'orphan' && name !== 'foregroundDeletion');
  if (policy === 'Orphan') return [...others, 'orphan'];
  return policy === 'Foreground' ? [...others, 'foregroundDeletion'] : others;
}

function checkPreconditions(target: WriteTarget, current: StateObject, options: DeleteOptions): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const metadata = current.object.metadata ?? {};
  const fail = (what: string, wanted: string, found: unknown) =>
    conflict(
      target.row,
      target.name,
      `Precondition failed: ${what} in precondition: ${wanted}, ${what} in object meta: ${found}`,
    );
  if (uid && uid !== metadata.uid) throw fail('UID', uid, metadata.uid);
  if (resourceVersion && resourceVersion !== metadata.resourceVersion) {
    throw fail('ResourceVersion', resourceVersion, metadata.resourceVersion);
  }
}

// The options belong to no group; each client writes another one's version.
async function decodeOptions(codec: Codec, call: Call, body: Buffer): Promise<DeleteOptions> {
  const mediaType = mediaTypeOf(call.request);
  if (mediaType === 'application/json') return parseOptions(body);
  const expected = { apiVersion: 'v1', kind: 'DeleteOptions', reportDuplicates: false };
  return (await decodeBody(codec, body, mediaType, expected)).object as DeleteOptions;
}

function parseOptions(body: Buffer): DeleteOptions {
  try {
    return JSON.parse(body.toString('utf8')) as DeleteOptions;
  } catch (error) {
    throw badRequest((error as Error).message);
  }
}
