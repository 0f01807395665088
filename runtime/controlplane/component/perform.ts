import { isApiError } from '../../api/api-error.ts';
import type { ApiClient } from '../../api/client.ts';
import type { Kind, KubeObject } from '../../api/kinds.ts';
import { objectPath } from '../../api/requests.ts';
import type { Action, EventAction } from './action.ts';
import type { ClusterCache } from './cluster-cache.ts';

const MAX_PARALLEL = 16;

export interface Performer {
  readonly client: ApiClient;
  readonly cache: ClusterCache;
  /** Takes an Event; must not wait. */
  readonly record: (event: EventAction) => void;
}

/**
 * Carries out the actions in order, then waits until the local copies show the result. The first
 * failure ends it (after what ran beside it), and is thrown.
 */
export async function performActions(performer: Performer, actions: readonly Action[]): Promise<void> {
  const writes: Promise<unknown>[] = [];
  try {
    await run(performer, actions, writes);
  } finally {
    await Promise.all(writes);
  }
}

async function run(
  performer: Performer,
  actions: readonly Action[],
  writes: Promise<unknown>[],
): Promise<void> {
  for (const action of actions) {
    if (action.verb === 'parallel') await runParallel(performer, action, writes);
    else if (action.verb === 'event') performer.record(action.event);
    else await runOne(performer, action, writes);
  }
}

async function runParallel(
  performer: Performer,
  group: Extract<Action, { verb: 'parallel' }>,
  writes: Promise<unknown>[],
): Promise<void> {
  let size = group.slowStart ? 1 : MAX_PARALLEL;
  for (let start = 0; start < group.actions.length; ) {
    const batch = group.actions.slice(start, start + size);
    const results = await Promise.allSettled(batch.map((action) => run(performer, [action], writes)));
    const failure = results.find((result) => result.status === 'rejected');
    if (failure) throw failure.reason;
    start += batch.length;
    size = Math.min(size * 2, MAX_PARALLEL);
  }
}

async function runOne(
  { client, cache, record }: Performer,
  action: Exclude<Action, { verb: 'parallel' | 'event' }>,
  writes: Promise<unknown>[],
): Promise<void> {
  const wrote = (kind: Kind<KubeObject>, object: KubeObject | undefined) => {
    const version = object?.metadata?.resourceVersion;
    if (version !== undefined) writes.push(cache.caughtUp(kind, version));
  };
  switch (action.verb) {
    case 'create':
      try {
        const created = await client.create(action.kind, action.object);
        announce(action, created, record);
        return wrote(action.kind, created);
      } catch (error) {
        if (action.ignoreExisting && isApiError(error, 'AlreadyExists')) return;
        announce(action, error, record);
        throw error;
      }
    case 'update':
      return wrote(action.kind, await client.update(action.kind, action.object, action.subresource));
    case 'patch':
      return wrote(action.kind, await client.patch(action.kind, action.ref, action));
    case 'post':
      await client.requestJson('POST', objectPath(action.kind, action.ref), { body: action.body });
      return;
    case 'delete': {
      try {
        await client.delete(action.kind, action.ref, action.options);
      } catch (error) {
        if (isApiError(error, 'NotFound')) return;
        throw error;
      }
      const { name, namespace } = action.ref;
      const key = namespace ? `${namespace}/${name}` : name;
      if (action.uid !== undefined) writes.push(cache.sawDeletion(action.kind, key, action.uid));
    }
  }
}

function announce(
  action: Extract<Action, { verb: 'create' }>,
  result: KubeObject | unknown,
  record: Performer['record'],
): void {
  if (!action.announce) return;
  const { kind, owner } = action.announce;
  if (result instanceof Error) {
    const message = isApiError(result) ? (result.status.message ?? result.message) : result.message;
    record({
      kind,
      object: owner,
      type: 'Warning',
      reason: 'FailedCreate',
      message: `Error creating: ${message}`,
    });
    return;
  }
  const message = `Created ${action.kind.kind.toLowerCase()}: ${(result as KubeObject).metadata?.name}`;
  record({ kind, object: owner, type: 'Normal', reason: 'SuccessfulCreate', message });
}
