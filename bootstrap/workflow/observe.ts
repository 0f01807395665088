import { isApiError } from '../../runtime/api/api-error.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import type { KubeObject } from '../../runtime/api/kinds.ts';
import { sleep } from '../../runtime/base/time.ts';
import type { Action } from './action.ts';
import { resourceOf } from './objects.ts';
import { isReached, type WaitContext } from './wait.ts';

/** The object of that kind and name as the cluster has it; undefined when it is not there. */
export type FindObject = (object: KubeObject) => Promise<KubeObject | undefined>;

/** How often a connection that breaks is tried again: the API server may just have begun to serve. */
const ATTEMPTS = 20;

/** How the cluster is looked at: with a client that may not be there yet. */
export interface Observation {
  readonly api: () => Promise<ApiClient>;
  readonly isDryRun: boolean;
  readonly signal: AbortSignal;
}

/** Looks objects up in the cluster; in a dry run, a cluster that cannot be reached has none. */
export function createFinder(observation: Observation): FindObject {
  return (object) => {
    const { name = '', namespace } = object.metadata ?? {};
    return observe(observation, (api) => api.find(resourceOf(object), { name, namespace }));
  };
}

/** What `look` finds; undefined in a dry run when it cannot look. A connection that breaks is tried again. */
export async function observe<T>(
  { api, isDryRun, signal }: Observation,
  look: (api: ApiClient) => Promise<T>,
): Promise<T | undefined> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await look(await api());
    } catch (error) {
      if (isDryRun) return undefined;
      if (attempt >= ATTEMPTS || isApiError(error)) throw error;
      await sleep(100, signal);
    }
  }
}

/** True when an action has no effect any more: the wait is over, or the object to keep is there. */
export async function isActionDone(
  action: Action,
  { find, ...context }: WaitContext & { readonly find: FindObject },
): Promise<boolean> {
  if (action.kind === 'wait') return isReached(action, context);
  if (action.kind !== 'apply-object' || action.existing !== 'keep') return false;
  return (await find(action.object).catch(() => undefined)) !== undefined;
}
