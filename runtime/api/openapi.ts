import { type Operation, type Parameter, type PathItem, pathsOf } from './openapi/operations.ts';
import { buildDefinitions, hasDefinition, openApiName, type SchemaStyle } from './openapi/schemas.ts';
import { RESOURCES, type ResourceRow } from './resources.ts';
import type { JsonObject } from './schema/types.ts';

const V3: SchemaStyle = { refPrefix: '#/components/schemas/', isV3: true };
const V2: SchemaStyle = { refPrefix: '#/definitions/', isV3: false };

const PATCH_TYPES = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
] as const;
const ANSWER_TYPES = ['application/json', 'application/yaml'] as const;

const SECURITY = {
  BearerToken: { description: 'Bearer token', in: 'header', name: 'authorization', type: 'apiKey' },
} as const;

function refOf(typeName: string, style: SchemaStyle): JsonObject {
  return { $ref: style.refPrefix + openApiName(typeName) };
}

function contentOf(types: readonly string[], typeName: string): JsonObject {
  return Object.fromEntries(types.map((type) => [type, { schema: refOf(typeName, V3) }]));
}

function answersOf(operation: Operation, answer: (code: string) => JsonObject): JsonObject {
  const codes = operation.method === 'post' ? ['200', '201', '202'] : ['200'];
  if (operation.method === 'put' || operation.method === 'patch') codes.push('201');
  if (operation.method === 'delete' && operation.action === 'delete') codes.push('202');
  return Object.fromEntries([
    ...codes.map((code) => [code, answer(code)]),
    ['401', { description: 'Unauthorized' }],
  ]);
}

const ANSWER_NAMES: Readonly<Record<string, string>> = { '200': 'OK', '201': 'Created', '202': 'Accepted' };

function commonOf(operation: Operation): JsonObject {
  return {
    description: operation.description,
    operationId: operation.id,
    tags: [
      operation.id
        .replace(/^[a-z]+/, '')
        .replace(/^([A-Za-z]+?)(V\d+).*/, '$1_$2')
        .toLowerCase(),
    ],
    'x-kubernetes-action': operation.action,
    'x-kubernetes-group-version-kind': operation.kind,
  };
}

function parameterV3({ name, in: place, type, description }: Parameter): JsonObject {
  return {
    name,
    in: place,
    description,
    ...(place === 'path' ? { required: true } : {}),
    schema: { type, uniqueItems: true },
  };
}

function operationV3(operation: Operation): JsonObject {
  const { body, answer } = operation;
  const isPatch = body === 'meta.v1.Patch';
  const types = isPatch ? PATCH_TYPES : ['*/*'];
  return {
    ...commonOf(operation),
    ...(operation.parameters.length > 0 ? { parameters: operation.parameters.map(parameterV3) } : {}),
    ...(body
      ? {
          requestBody: {
            content: contentOf(types, body),
            ...(operation.method === 'delete' ? {} : { required: true }),
          },
        }
      : {}),
    responses: answersOf(operation, (code) => ({
      description: ANSWER_NAMES[code],
      content: answer ? contentOf(ANSWER_TYPES, answer) : { '*/*': { schema: { type: 'string' } } },
    })),
  };
}

function parameterV2({ name, in: place, type, description }: Parameter): JsonObject {
  return {
    name,
    in: place,
    type,
    description,
    uniqueItems: true,
    ...(place === 'path' ? { required: true } : {}),
  };
}

function operationV2(operation: Operation): JsonObject {
  const { body, answer } = operation;
  const bodyParameter = body
    ? [
        {
          name: 'body',
          in: 'body',
          ...(operation.method === 'delete' ? {} : { required: true }),
          schema: refOf(body, V2),
        },
      ]
    : [];
  const parameters = [...bodyParameter, ...operation.parameters.map(parameterV2)];
  return {
    ...commonOf(operation),
    consumes: body === 'meta.v1.Patch' ? PATCH_TYPES : ['*/*'],
    produces: answer ? ANSWER_TYPES : ['*/*'],
    schemes: ['https'],
    ...(parameters.length > 0 ? { parameters } : {}),
    responses: answersOf(operation, (code) => ({
      description: ANSWER_NAMES[code],
      schema: answer ? refOf(answer, V2) : { type: 'string' },
    })),
  };
}

function pathEntry(
  item: PathItem,
  parameter: (parameter: Parameter) => JsonObject,
  operation: (operation: Operation) => JsonObject,
): readonly [string, JsonObject] {
  return [
    item.path,
    {
      ...Object.fromEntries(item.operations.map((each) => [each.method, operation(each)])),
      parameters: item.parameters.map(parameter),
    },
  ];
}

/** Operations whose types the tables have. */
function itemsOf(rows: readonly ResourceRow[]): readonly PathItem[] {
  return rows.flatMap(pathsOf).map((item) => ({
    ...item,
    operations: item.operations.filter(({ answer }) => answer === undefined || hasDefinition(answer)),
  }));
}

function typesOf(items: readonly PathItem[]): Set<string> {
  const names = new Set<string>();
  for (const { operations } of items)
    for (const { body, answer } of operations) {
      if (body) names.add(body);
      if (answer) names.add(answer);
    }
  return names;
}

/** The OpenAPI v3 document of one built-in group and version, `/openapi/v3/apis/GROUP/VERSION`. */
export function buildOpenApiV3(group: string, version: string): JsonObject {
  const items = itemsOf(RESOURCES.filter((row) => row.group === group && row.version === version));
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: 'unversioned' },
    paths: Object.fromEntries(items.map((item) => pathEntry(item, parameterV3, operationV3))),
    components: {
      schemas: buildDefinitions(typesOf(items), V3),
      securitySchemes: SECURITY,
    },
  };
}

/** The index `/openapi/v3`: documents by path ("api/v1", "apis/apps/v1") with the hash of their content. */
export function buildOpenApiV3Root(hashes: ReadonlyMap<string, string>): JsonObject {
  const entries = [...hashes].map(([path, hash]) => [
    path,
    { serverRelativeURL: `/openapi/v3/${path}?hash=${encodeURIComponent(hash)}` },
  ]);
  return { paths: Object.fromEntries(entries) };
}

/** The OpenAPI v2 document of all built-in resources, `/openapi/v2`. */
export function buildOpenApiV2(): JsonObject {
  const items = itemsOf(RESOURCES);
  return {
    swagger: '2.0',
    info: { title: 'Kubernetes', version: 'unversioned' },
    paths: Object.fromEntries(items.map((item) => pathEntry(item, parameterV2, operationV2))),
    definitions: buildDefinitions(typesOf(items), V2),
    securityDefinitions: SECURITY,
    security: [{ BearerToken: [] }],
  };
}
