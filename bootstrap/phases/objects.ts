import type { KubeObject } from '../../runtime/api/kinds.ts';
import { isGenerated } from '../addons/component-hash.ts';
import { type Action, formatObject } from '../workflow/action.ts';
import { isCovered } from '../workflow/objects.ts';
import type { InitContext } from './init-context.ts';

/** What planning objects looks at. */
export type ObjectContext = Pick<InitContext, 'find' | 'warn'>;

/** The objects that are not in the cluster as they should be. What others added to an object stays. */
export async function planObjects(
  { find, warn }: ObjectContext,
  objects: readonly KubeObject[],
): Promise<readonly Action[]> {
  const actions = await Promise.all(
    objects.map(async (object): Promise<Action | undefined> => {
      const live = await find(object);
      if (live && isCovered(live, object)) return undefined;
      if (live && isOverwriting(live, object)) {
        warn(`${formatObject(object)} is kept: it was changed since tkadm generated it`);
        return undefined;
      }
      return { kind: 'apply-object', object, existing: 'replace', live };
    }),
  );
  return actions.filter((action) => action !== undefined);
}

/** True when a generated configuration would take the place of one that a user gave or changed. */
function isOverwriting(live: KubeObject, object: KubeObject): boolean {
  return isGenerated(object) && !isGenerated(live);
}
