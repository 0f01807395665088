import { RESOURCES } from '../resources.ts';
import { findType, requireType, TYPE_TABLES } from '../schema/registry.ts';
import type { FieldSchema, FieldType, JsonObject, Scalar, TypeSchema } from '../schema/types.ts';
import { describeField, describeType } from './descriptions.ts';

/** What differs between OpenAPI v2 and v3 documents. */
export interface SchemaStyle {
  /** "#/components/schemas/" or "#/definitions/". */
  readonly refPrefix: string;
  readonly isV3: boolean;
}

/** Scalars that have a definition of their own, with its full name. */
const NAMED_SCALARS: Readonly<Partial<Record<Scalar, string>>> = {
  time: 'io.k8s.apimachinery.pkg.apis.meta.v1.Time',
  microTime: 'io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime',
  fieldsV1: 'io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1',
  quantity: 'io.k8s.apimachinery.pkg.api.resource.Quantity',
  intOrString: 'io.k8s.apimachinery.pkg.util.intstr.IntOrString',
  raw: 'io.k8s.apimachinery.pkg.runtime.RawExtension',
  json: 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON',
};

const PLAIN_SCALARS: Readonly<Partial<Record<Scalar, JsonObject>>> = {
  string: { type: 'string' },
  int32: { type: 'integer', format: 'int32' },
  int64: { type: 'integer', format: 'int64' },
  double: { type: 'number', format: 'double' },
  bool: { type: 'boolean' },
  bytes: { type: 'string', format: 'byte' },
};

const PATCH_NAME = 'io.k8s.apimachinery.pkg.apis.meta.v1.Patch';

/** Definitions of the named scalars and of Patch. */
function namedDefinition(name: string, { isV3 }: SchemaStyle): JsonObject {
  const description = describeType(name);
  if (name.endsWith('.Time') || name.endsWith('.MicroTime'))
    return { description, type: 'string', format: 'date-time' };
  if (name === NAMED_SCALARS.quantity)
    return isV3
      ? { description, oneOf: [{ type: 'string' }, { type: 'number' }] }
      : { description, type: 'string' };
  if (name === NAMED_SCALARS.intOrString)
    return {
      description,
      format: 'int-or-string',
      ...(isV3 ? { oneOf: [{ type: 'integer' }, { type: 'string' }] } : { type: 'string' }),
    };
  return name === NAMED_SCALARS.json ? { description } : { description, type: 'object' };
}

const prefixes = new Map(TYPE_TABLES.map(({ table, openApiPrefix }) => [table, openApiPrefix]));

/** Name in OpenAPI documents: "core.v1.Pod" → "io.k8s.api.core.v1.Pod". */
export function openApiName(typeName: string): string {
  const dot = typeName.lastIndexOf('.');
  return `${prefixes.get(typeName.slice(0, dot))}${typeName.slice(dot)}`;
}

function typeSchema(type: FieldType, style: SchemaStyle, use: (name: string) => void): JsonObject {
  switch (type.kind) {
    case 'array':
      return { type: 'array', items: typeSchema(type.items, style, use) };
    case 'map':
      return { type: 'object', additionalProperties: typeSchema(type.values, style, use) };
    case 'ref':
      use(type.type);
      return { $ref: style.refPrefix + openApiName(type.type) };
    case 'scalar': {
      const named = NAMED_SCALARS[type.scalar];
      if (!named) return { ...PLAIN_SCALARS[type.scalar] };
      use(named);
      return { $ref: style.refPrefix + named };
    }
  }
}

function extensionsOf(field: FieldSchema): JsonObject {
  const { listType, listMapKeys, mapType, patchStrategies, mergeKey } = field;
  return {
    ...(listMapKeys ? { 'x-kubernetes-list-map-keys': listMapKeys } : {}),
    ...(listType ? { 'x-kubernetes-list-type': listType } : {}),
    ...(mapType ? { 'x-kubernetes-map-type': mapType } : {}),
    ...(mergeKey ? { 'x-kubernetes-patch-merge-key': mergeKey } : {}),
    ...(patchStrategies.length > 0 ? { 'x-kubernetes-patch-strategy': patchStrategies.join(',') } : {}),
  };
}

function fieldSchema(
  field: FieldSchema,
  typeName: string,
  style: SchemaStyle,
  use: (name: string) => void,
): JsonObject {
  const schema = typeSchema(field.type, style, use);
  const isRef = '$ref' in schema && style.isV3;
  const description = describeField(typeName, field.name);
  return {
    ...(description ? { description } : {}),
    ...(isRef ? { allOf: [schema] } : schema),
    ...(field.defaultValue !== undefined && style.isV3 ? { default: field.defaultValue } : {}),
    ...extensionsOf(field),
  };
}

/** Kinds that every group serves under its own version. */
const SHARED_KINDS: ReadonlySet<string> = new Set(['meta.v1.DeleteOptions', 'meta.v1.WatchEvent']);

function kindsOf(type: TypeSchema): readonly JsonObject[] {
  const dot = type.name.lastIndexOf('.');
  const kind = type.name.slice(dot + 1);
  if (SHARED_KINDS.has(type.name)) {
    const versions = new Map(
      RESOURCES.map(({ group, version }) => [`${group}/${version}`, { group, version }]),
    );
    return [...versions.values()].map(({ group, version }) => ({ group, kind, version }));
  }
  const table = TYPE_TABLES.find((row) => row.table === type.name.slice(0, dot))!;
  return [{ group: table.table === 'meta.v1' ? '' : table.group, kind, version: table.version }];
}

function objectDefinition(type: TypeSchema, style: SchemaStyle, use: (name: string) => void): JsonObject {
  const fields = [...type.fields.values()];
  const required = fields.filter((field) => field.required).map(({ name }) => name);
  const description = describeType(type.name);
  return {
    ...(description ? { description } : {}),
    type: 'object',
    ...(fields.length > 0
      ? {
          properties: Object.fromEntries(
            fields.map((field) => [field.name, fieldSchema(field, type.name, style, use)]),
          ),
        }
      : {}),
    ...(required.length > 0 ? { required } : {}),
    ...(type.isKind ? { 'x-kubernetes-group-version-kind': kindsOf(type) } : {}),
    ...(type.isAtomic ? { 'x-kubernetes-map-type': 'atomic' } : {}),
  };
}

/** Definitions of these types and of all that they refer to, by full name, sorted. */
export function buildDefinitions(typeNames: Iterable<string>, style: SchemaStyle): JsonObject {
  const definitions = new Map<string, JsonObject>();
  const open = [...typeNames];
  const seen = new Set<string>();
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const isNamed = name.startsWith('io.k8s.') || name === 'meta.v1.Patch';
    if (isNamed) {
      const full = name === 'meta.v1.Patch' ? PATCH_NAME : name;
      definitions.set(full, namedDefinition(full, style));
      continue;
    }
    const type = requireType(name);
    const definition = type.variant
      ? { description: describeType(name) }
      : objectDefinition(type, style, (other) => open.push(other));
    definitions.set(openApiName(name), definition);
  }
  return Object.fromEntries([...definitions].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** True when the tables have the type; streams and some options have none. */
export function hasDefinition(typeName: string): boolean {
  return typeName === 'meta.v1.Patch' || findType(typeName) !== undefined;
}
