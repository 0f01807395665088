import { isDeepStrictEqual } from 'node:util';
import { findType } from './schema/registry.ts';
import { type FieldSchema, type FieldType, isJsonObject } from './schema/types.ts';

/**
 * A set of fields as `fieldsV1` of metadata.managedFields writes it: "f:NAME" a member, `k:{"name":"x"}` an element
 * by its keys, `v:"x"` a value of a set, "." the element itself; a node without children is a member as a whole.
 */
export interface FieldSet {
  readonly [element: string]: FieldSet;
}

/** How a value merges: its members one by one, its elements by keys or value, or as a whole. */
export type MergeRule =
  | { readonly kind: 'struct'; readonly ruleOf: (name: string) => MergeRule }
  | { readonly kind: 'list'; readonly keys: readonly ListKey[]; readonly items: MergeRule }
  | { readonly kind: 'set' }
  | { readonly kind: 'atomic' };

interface ListKey {
  readonly name: string;
  readonly defaultValue: unknown;
}

const ATOMIC: MergeRule = { kind: 'atomic' };

/** Values without a schema: objects merge, lists do not. */
const FREE: MergeRule = { kind: 'struct', ruleOf: () => FREE };

function ruleOfValue(type: FieldType): MergeRule {
  if (type.kind === 'ref') return ruleOfType(type.type);
  if (type.kind === 'map') return { kind: 'struct', ruleOf: () => ruleOfValue(type.values) };
  return type.kind === 'scalar' && (type.scalar === 'raw' || type.scalar === 'json') ? FREE : ATOMIC;
}

function ruleOfField(field: FieldSchema): MergeRule {
  const { type, listType, listMapKeys = [] } = field;
  if (field.mapType === 'atomic') return ATOMIC;
  if (type.kind !== 'array') return ruleOfValue(type);
  if (listType === 'set') return { kind: 'set' };
  if (listType !== 'map' || type.items.kind !== 'ref') return ATOMIC;
  const itemType = findType(type.items.type);
  const keys = listMapKeys.map((name) => ({ name, defaultValue: itemType?.fields.get(name)?.defaultValue }));
  return { kind: 'list', keys, items: ruleOfType(type.items.type) };
}

function ruleOfType(typeName: string): MergeRule {
  const type = findType(typeName);
  if (!type) return FREE;
  if (type.isAtomic || type.variant) return ATOMIC;
  return {
    kind: 'struct',
    ruleOf: (name) => {
      const field = type.fields.get(name);
      return field ? ruleOfField(field) : FREE;
    },
  };
}

/** The rule of a whole object; custom resources (undefined) merge without a schema. */
export function mergeRuleOf(typeName: string | undefined): MergeRule {
  if (typeName) return ruleOfType(typeName);
  const metadata = ruleOfType('meta.v1.ObjectMeta');
  return { kind: 'struct', ruleOf: (name) => (name === 'metadata' ? metadata : FREE) };
}

function keyOf(item: unknown, keys: readonly ListKey[]): string {
  const members = keys.map(({ name, defaultValue }) => {
    const value = isJsonObject(item) ? item[name] : undefined;
    return [name, value ?? defaultValue] as const;
  });
  return `k:${JSON.stringify(Object.fromEntries(members.filter(([, value]) => value !== undefined)))}`;
}

/** An element of a value with the path element that names it. */
export interface Child {
  readonly element: string;
  readonly value: unknown;
  readonly rule: MergeRule;
}

/** The parts of a value that are fields of their own; undefined for a value that is one field. */
export function childrenOf(value: unknown, rule: MergeRule): readonly Child[] | undefined {
  if (rule.kind === 'struct' && isJsonObject(value))
    return Object.entries(value).map(([name, member]) => ({
      element: `f:${name}`,
      value: member,
      rule: rule.ruleOf(name),
    }));
  if (!Array.isArray(value)) return undefined;
  if (rule.kind === 'set')
    return value.map((item) => ({ element: `v:${JSON.stringify(item)}`, value: item, rule: ATOMIC }));
  if (rule.kind !== 'list') return undefined;
  return value.map((item) => ({ element: keyOf(item, rule.keys), value: item, rule: rule.items }));
}

/** All fields of a value. */
export function fieldsOf(value: unknown, rule: MergeRule): FieldSet {
  const children = childrenOf(value, rule);
  const set: Record<string, FieldSet> = {};
  for (const child of children ?? []) {
    const inner = fieldsOf(child.value, child.rule);
    set[child.element] =
      child.element.startsWith('k:') && isJsonObject(child.value) ? { '.': {}, ...inner } : inner;
  }
  return set;
}

/** True for a set without fields, and for a node that is a field as a whole. */
export function isEmptyFields(set: FieldSet): boolean {
  return Object.keys(set).length === 0;
}

/** The fields of both. */
export function unionFields(left: FieldSet, right: FieldSet): FieldSet {
  const result: Record<string, FieldSet> = { ...left };
  for (const [element, inner] of Object.entries(right)) {
    const mine = result[element];
    result[element] = mine ? unionFields(mine, inner) : inner;
  }
  return result;
}

/** What is left of `left` without the fields of `right`. */
export function subtractFields(left: FieldSet, right: FieldSet): FieldSet {
  const result: Record<string, FieldSet> = {};
  for (const [element, inner] of Object.entries(left)) {
    const other = right[element];
    if (!other) result[element] = inner;
    else if (!isEmptyFields(inner) && !isEmptyFields(other)) {
      const rest = subtractFields(inner, other);
      if (!isEmptyFields(rest)) result[element] = rest;
    }
  }
  return result;
}

/** The fields that are in both. */
export function intersectFields(left: FieldSet, right: FieldSet): FieldSet {
  const result: Record<string, FieldSet> = {};
  for (const [element, inner] of Object.entries(left)) {
    const other = right[element];
    if (!other) continue;
    if (isEmptyFields(inner) || isEmptyFields(other)) result[element] = isEmptyFields(inner) ? inner : other;
    else {
      const common = intersectFields(inner, other);
      if (!isEmptyFields(common)) result[element] = common;
    }
  }
  return result;
}

function childMap(value: unknown, rule: MergeRule): ReadonlyMap<string, Child> {
  return new Map((childrenOf(value, rule) ?? []).map((child) => [child.element, child]));
}

/** Fields of `after` that `before` lacks or has with another value. */
export function changedFields(before: unknown, after: unknown, rule: MergeRule): FieldSet {
  const old = childMap(before, rule);
  const result: Record<string, FieldSet> = {};
  for (const { element, value, rule: inner } of childrenOf(after, rule) ?? []) {
    const mine = old.get(element);
    if (!mine) {
      const fields = fieldsOf(value, inner);
      result[element] = element.startsWith('k:') ? { '.': {}, ...fields } : fields;
    } else if (childrenOf(value, inner) && childrenOf(mine.value, inner)) {
      const changed = changedFields(mine.value, value, inner);
      if (!isEmptyFields(changed)) result[element] = changed;
    } else if (!isDeepStrictEqual(mine.value, value)) result[element] = {};
  }
  return result;
}

function formatElement(element: string): string {
  if (element.startsWith('f:')) return `.${element.slice(2)}`;
  if (element.startsWith('k:')) {
    const keys = Object.entries(JSON.parse(element.slice(2)) as Record<string, unknown>);
    return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(',')}]`;
  }
  return `[=${element.slice(2)}]`;
}

/** Paths of a set as conflicts name them: `.spec.containers[name="c"].image`. */
export function formatFields(set: FieldSet, path = ''): string[] {
  return Object.entries(set).flatMap(([element, inner]) => {
    if (element === '.') return [path];
    const own = path + formatElement(element);
    return isEmptyFields(inner) ? [own] : formatFields(inner, own);
  });
}
