import { isDeepStrictEqual } from 'node:util';
import {
  changedFields,
  childrenOf,
  type FieldSet,
  fieldsOf,
  formatFields,
  intersectFields,
  isEmptyFields,
  type MergeRule,
  mergeRuleOf,
  subtractFields,
  unionFields,
} from './field-sets.ts';
import { badRequest, RequestError } from './request-error.ts';
import { ensureObject, getObject, getObjects, getString } from './schema/access.ts';
import { isJsonObject, type JsonObject } from './schema/types.ts';
import { formatTime } from './time.ts';

export interface ApplyOptions {
  readonly fieldManager: string;
  /** Name of the type of the object; undefined for custom resources. */
  readonly typeName: string | undefined;
  readonly now: Date;
  readonly subresource?: string;
  /** Take fields over from other managers instead of a conflict. */
  readonly force?: boolean;
}

/** One entry of metadata.managedFields. */
interface Manager {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string;
  readonly fields: FieldSet;
}

/** Fields that nobody manages: identity, and what the server writes. */
const UNMANAGED: FieldSet = {
  'f:apiVersion': {},
  'f:kind': {},
  'f:metadata': {
    'f:name': {},
    'f:namespace': {},
    'f:uid': {},
    'f:resourceVersion': {},
    'f:generation': {},
    'f:creationTimestamp': {},
    'f:deletionTimestamp': {},
    'f:deletionGracePeriodSeconds': {},
    'f:selfLink': {},
    'f:managedFields': {},
  },
};

/** Only the status belongs to its subresource, and all but the status to the object. */
function manageable(fields: FieldSet, subresource: string | undefined): FieldSet {
  const { 'f:status': status, ...others } = subtractFields(fields, UNMANAGED);
  if (subresource === 'status') return status ? { 'f:status': status } : {};
  const { 'f:metadata': metadata, ...rest } = others;
  return metadata && !isEmptyFields(metadata) ? others : rest;
}

function readManagers(object: JsonObject | undefined): readonly Manager[] {
  return getObjects(object?.['metadata'], 'managedFields').map((entry) => ({
    manager: getString(entry, 'manager'),
    operation: entry['operation'] === 'Apply' ? 'Apply' : 'Update',
    apiVersion: getString(entry, 'apiVersion'),
    subresource: getString(entry, 'subresource'),
    time: getString(entry, 'time'),
    fields: (getObject(entry, 'fieldsV1') ?? {}) as FieldSet,
  }));
}

function writeManagers(object: JsonObject, managers: readonly Manager[]): void {
  const entries = managers
    .filter(({ fields }) => !isEmptyFields(fields))
    .map(({ manager, operation, apiVersion, subresource, time, fields }) => ({
      manager,
      operation,
      apiVersion,
      time,
      fieldsType: 'FieldsV1',
      fieldsV1: fields,
      ...(subresource ? { subresource } : {}),
    }));
  const metadata = ensureObject(object, 'metadata');
  if (entries.length > 0) metadata['managedFields'] = entries;
  else delete metadata['managedFields'];
}

function isOwn(manager: Manager, options: ApplyOptions): boolean {
  return (
    manager.manager === options.fieldManager &&
    manager.operation === 'Apply' &&
    manager.subresource === (options.subresource ?? '')
  );
}

/** The entry with these fields; its time moves only when they change. */
function renew(
  before: Manager | undefined,
  fields: FieldSet,
  entry: Omit<Manager, 'fields' | 'time'>,
  now: Date,
): Manager {
  const isSameSet = before !== undefined && isDeepStrictEqual(before.fields, fields);
  return { ...entry, fields, time: isSameSet ? before.time : formatTime(now) };
}

function mergeChildren(live: unknown, applied: unknown, rule: MergeRule): unknown {
  if (rule.kind === 'struct' && isJsonObject(live) && isJsonObject(applied)) {
    const result: JsonObject = { ...live };
    for (const [name, value] of Object.entries(applied)) {
      const merged = mergeChildren(live[name], value, rule.ruleOf(name));
      Object.defineProperty(result, name, {
        value: merged,
        writable: true,
        enumerable: true,
        configurable: true,
      });
    }
    return result;
  }
  const [old, wanted] = [childrenOf(live, rule), childrenOf(applied, rule)];
  if (!old || !wanted || rule.kind === 'struct') return applied;
  const next = new Map(wanted.map((child) => [child.element, child]));
  const kept = old.map(({ element, value, rule: inner }) => {
    const update = next.get(element);
    next.delete(element);
    return update ? mergeChildren(value, update.value, inner) : value;
  });
  return [...kept, ...[...next.values()].map(({ value }) => value)];
}

/** The value without these fields; elements go when "." or all of them is meant. */
function removeFields(value: unknown, fields: FieldSet, rule: MergeRule): unknown {
  const children = childrenOf(value, rule);
  if (!children) return value;
  const kept = children.flatMap((child) => {
    const inner = fields[child.element];
    if (!inner) return [child];
    if (isEmptyFields(inner) || inner['.']) return [];
    return [{ ...child, value: removeFields(child.value, inner, child.rule) }];
  });
  if (rule.kind !== 'struct') return kept.map((child) => child.value);
  return Object.fromEntries(kept.map((child) => [child.element.slice(2), child.value]));
}

function formatManager({ manager, operation, subresource, apiVersion, time }: Manager): string {
  const name = `${JSON.stringify(manager)}${subresource ? ` with subresource ${JSON.stringify(subresource)}` : ''}`;
  if (operation === 'Apply') return name;
  return time ? `${name} using ${apiVersion} at ${time}` : `${name} using ${apiVersion}`;
}

function conflictError(
  conflicts: readonly { readonly manager: Manager; readonly fields: FieldSet }[],
): RequestError {
  const causes = conflicts.flatMap(({ manager, fields }) =>
    formatFields(fields).map((field) => ({
      reason: 'FieldManagerConflict',
      message: `conflict with ${formatManager(manager)}`,
      field,
    })),
  );
  const texts = conflicts.map(({ manager, fields }) => {
    const paths = formatFields(fields);
    return paths.length === 1
      ? `conflict with ${formatManager(manager)}: ${paths[0]}`
      : `conflicts with ${formatManager(manager)}:\n${paths.map((path) => `- ${path}`).join('\n')}`;
  });
  const count = causes.length === 1 ? '1 conflict' : `${causes.length} conflicts`;
  return new RequestError(409, `Apply failed with ${count}: ${texts.join('\n')}`, {
    reason: 'Conflict',
    causes,
  });
}

/**
 * The object after a server-side apply of `applied`: its fields merge into `live`, and fields that this manager
 * applied before and now leaves out go unless somebody else manages them. managedFields are brought up to date;
 * `live` stays as it is (Kubernetes documentation "Server-Side Apply").
 * @throws RequestError 409 with FieldManagerConflict causes, 400 when `applied` has managedFields.
 */
export function applyServerSide(
  live: JsonObject | undefined,
  applied: JsonObject,
  options: ApplyOptions,
): JsonObject {
  if (getObjects(applied['metadata'], 'managedFields').length > 0)
    throw badRequest('metadata.managedFields must be nil');
  const rule = mergeRuleOf(options.typeName);
  const wanted = manageable(fieldsOf(applied, rule), options.subresource);
  const managers = readManagers(live);
  const own = managers.find((manager) => isOwn(manager, options));
  const others = managers.filter((manager) => manager !== own);
  const changed = intersectFields(changedFields(live ?? {}, applied, rule), wanted);
  const conflicts = others
    .map((manager) => ({ manager, fields: intersectFields(manager.fields, changed) }))
    .filter(({ fields }) => !isEmptyFields(fields));
  if (conflicts.length > 0 && !options.force) throw conflictError(conflicts);
  const rest = others.map((manager) => ({ ...manager, fields: subtractFields(manager.fields, changed) }));
  const kept = rest.reduce<FieldSet>((sum, { fields }) => unionFields(sum, fields), wanted);
  const dropped = own ? subtractFields(own.fields, kept) : {};
  const result = removeFields(mergeChildren(live ?? {}, applied, rule), dropped, rule);
  if (!isJsonObject(result)) throw new Error('an applied object is no object');
  const entry = {
    manager: options.fieldManager,
    operation: 'Apply',
    apiVersion: getString(applied, 'apiVersion'),
    subresource: options.subresource ?? '',
  } as const;
  const object = structuredClone(result);
  writeManagers(object, [...rest, renew(own, wanted, entry, options.now)]);
  return object;
}
