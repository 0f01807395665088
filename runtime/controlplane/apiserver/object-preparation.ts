import { formatApiVersion, type ResourceRow } from '../../api/resources.ts';
import { type AnyObject, strategyOf } from './strategies.ts';
import { keepSystemMetadata, newMetadata } from './system-metadata.ts';
import { scopeUpdate } from './update-scopes.ts';
import type { ObjectRules, WriteTarget } from './write-target.ts';

interface Preparation {
  readonly rules: ObjectRules;
  readonly now: () => Date;
}

/** The object as it is to be stored, in place: identity, defaults and what its resource's strategy gives it. */
export function prepareCreate(target: WriteTarget, object: AnyObject, { rules, now }: Preparation): void {
  const { row } = target;
  const strategy = strategyOf(row);
  const context = { user: target.user, now };
  object.kind = row.kind;
  object.apiVersion = formatApiVersion(row);
  object.metadata = newMetadata(target, object, {
    hasGeneration: strategy.hasGeneration ?? false,
    now: now(),
  });
  if (hasStatus(row) && !strategy.keepsStatusOnCreate) {
    delete object.status;
    object.status = {};
  }
  rules.applyDefaults(object);
  if (strategy.initialStatus) object.status = strategy.initialStatus(object, context);
  strategy.prepareCreate?.(object, context);
}

/** What an update makes of the old object: no more than the subresource may change, completed. */
export function prepareUpdate(
  target: WriteTarget,
  { changed, old }: { readonly changed: AnyObject; readonly old: AnyObject },
  { rules, now }: Preparation,
): AnyObject {
  const { row, subresource } = target;
  const object = scopeUpdate(subresource, changed, old) ?? changed;
  object.kind = row.kind;
  object.apiVersion = formatApiVersion(row);
  object.metadata = keepSystemMetadata(object, old);
  if (subresource === '') {
    if (hasStatus(row)) keepStatus(object, old);
    strategyOf(row).prepareUpdate?.(object, old, { user: target.user, now });
  }
  rules.applyDefaults(object);
  return object;
}

function keepStatus(object: AnyObject, old: AnyObject): void {
  if (old.status === undefined) delete object.status;
  else object.status = structuredClone(old.status);
}

function hasStatus({ subresources = [] }: ResourceRow): boolean {
  return subresources.some(({ name }) => name === 'status');
}
