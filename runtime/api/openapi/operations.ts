import { formatApiVersion, type ResourceRow, type SubresourceRow } from '../resources.ts';

/** A parameter of an operation. */
export interface Parameter {
  readonly name: string;
  readonly in: 'query' | 'path';
  readonly type: 'string' | 'integer' | 'boolean';
  readonly description: string;
}

/** One method of one path, before it is written as OpenAPI v2 or v3. */
export interface Operation {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  readonly id: string;
  readonly description: string;
  /** Value of `x-kubernetes-action`. */
  readonly action: string;
  readonly kind: { readonly group: string; readonly version: string; readonly kind: string };
  readonly parameters: readonly Parameter[];
  /** Name of the type of the body: "apps.v1.Deployment"; "meta.v1.Patch" for patches. */
  readonly body?: string;
  /** Name of the type of the answer; undefined for raw streams. */
  readonly answer?: string;
}

export interface PathItem {
  readonly path: string;
  readonly parameters: readonly Parameter[];
  readonly operations: readonly Operation[];
}

function query(name: string, type: Parameter['type'], description: string): Parameter {
  return { name, in: 'query', type, description };
}

const PRETTY = query('pretty', 'string', 'Indents the answer when "true".');
const DRY_RUN = query('dryRun', 'string', '"All" runs every check and stores nothing.');
const MANAGER = query('fieldManager', 'string', 'Name of the one who sets the fields, up to 128 characters.');
const VALIDATION = query(
  'fieldValidation',
  'string',
  'What happens to unknown and duplicate fields: Ignore, Warn (the default) or Strict.',
);
const FORCE = query('force', 'boolean', 'Takes over fields of other managers; for apply patches only.');
const WRITE: readonly Parameter[] = [DRY_RUN, MANAGER, VALIDATION];
const PATCH: readonly Parameter[] = [...WRITE, FORCE];
const DELETE: readonly Parameter[] = [
  DRY_RUN,
  query('gracePeriodSeconds', 'integer', 'Seconds until the object is deleted; 0 deletes it now.'),
  query('orphanDependents', 'boolean', 'Deprecated: use propagationPolicy.'),
  query('propagationPolicy', 'string', 'What happens to dependents: Orphan, Background or Foreground.'),
];
const LIST: readonly Parameter[] = [
  query('allowWatchBookmarks', 'boolean', 'Asks a watch for BOOKMARK events.'),
  query('continue', 'string', 'Token of the last page, for the next one.'),
  query('fieldSelector', 'string', 'Restricts the list by fields.'),
  query('labelSelector', 'string', 'Restricts the list by labels.'),
  query('limit', 'integer', 'Most items of a page.'),
  query('resourceVersion', 'string', 'Version that the answer must have or follow.'),
  query('resourceVersionMatch', 'string', 'How resourceVersion applies: Exact or NotOlderThan.'),
  query('sendInitialEvents', 'boolean', 'Starts a watch with the objects that exist.'),
  query('timeoutSeconds', 'integer', 'Seconds after which the call ends.'),
  query('watch', 'boolean', 'Streams changes instead of a list.'),
];

function pathParameter(name: string, description: string): Parameter {
  return { name, in: 'path', type: 'string', description };
}

const NAMESPACE = pathParameter('namespace', 'Namespace of the object.');
const METHODS: Readonly<Record<string, Operation['method']>> = {
  get: 'get',
  create: 'post',
  update: 'put',
  patch: 'patch',
  delete: 'delete',
};

const ACTION_WORDS: Readonly<Record<string, string>> = {
  get: 'read',
  create: 'create',
  update: 'replace',
  patch: 'patch',
  delete: 'delete',
};

const TABLE_OVERRIDES: Readonly<Record<string, string>> = {
  '': 'core',
  'rbac.authorization.k8s.io': 'rbac',
  'flowcontrol.apiserver.k8s.io': 'flowcontrol',
};

/** Table of the types of a group and version: "core.v1", "rbac.v1". */
function tableOf(group: string, version: string): string {
  return `${TABLE_OVERRIDES[group] ?? group.replace(/\.k8s\.io$/, '')}.${version}`;
}

function capitalize(text: string): string {
  return text === '' ? '' : text[0]!.toUpperCase() + text.slice(1);
}

/** "AppsV1" as it stands in operation ids: the group up to ".k8s.io", the core group as "Core". */
function idPrefix(row: ResourceRow): string {
  const group = row.group === '' ? 'core' : row.group.replace(/\.k8s\.io$/, '');
  return `${group.split('.').map(capitalize).join('')}${capitalize(row.version)}`;
}

interface Target {
  readonly row: ResourceRow;
  readonly subresource?: SubresourceRow;
  readonly kind: Operation['kind'];
  readonly type: string;
  readonly idSuffix: string;
}

function parametersOf(verb: string): readonly Parameter[] {
  if (verb === 'create' || verb === 'update') return WRITE;
  if (verb === 'patch') return PATCH;
  return verb === 'delete' ? DELETE : [];
}

function bodyOf(verb: string, type: string): string | undefined {
  if (verb === 'create' || verb === 'update') return type;
  if (verb === 'patch') return 'meta.v1.Patch';
  return verb === 'delete' ? 'meta.v1.DeleteOptions' : undefined;
}

function operationOf(verb: string, target: Target): Operation {
  const { kind, type, idSuffix, row } = target;
  const method = METHODS[verb]!;
  const body = bodyOf(verb, type);
  const what = target.subresource ? `${target.subresource.name} of the specified ${row.kind}` : kind.kind;
  return {
    method,
    id: `${ACTION_WORDS[verb]}${idPrefix(row)}${idSuffix}`,
    description: `${ACTION_WORDS[verb]} the ${what}`,
    action: method === 'get' ? 'get' : method,
    kind,
    parameters: parametersOf(verb),
    ...(body ? { body } : {}),
    answer: verb === 'delete' && row.kind !== 'Pod' ? 'meta.v1.Status' : type,
  };
}

function listOperation(target: Target, idSuffix: string): Operation {
  return {
    method: 'get',
    id: `list${idPrefix(target.row)}${idSuffix}`,
    description: `list or watch objects of kind ${target.row.kind}`,
    action: 'list',
    kind: target.kind,
    parameters: LIST,
    answer: `${target.type}List`,
  };
}

function deleteCollection(target: Target, scope: string): Operation {
  return {
    method: 'delete',
    id: `delete${idPrefix(target.row)}Collection${scope}${target.row.kind}`,
    description: `delete collection of ${target.row.kind}`,
    action: 'deletecollection',
    kind: target.kind,
    parameters: [...DELETE, ...LIST.filter(({ name }) => name !== 'watch' && name !== 'allowWatchBookmarks')],
    body: 'meta.v1.DeleteOptions',
    answer: 'meta.v1.Status',
  };
}

function targetOf(row: ResourceRow, subresource?: SubresourceRow): Target {
  const kind = {
    group: subresource?.group ?? row.group,
    version: subresource?.version ?? row.version,
    kind: subresource?.kind ?? row.kind,
  };
  const scope = row.namespaced ? 'Namespaced' : '';
  return {
    row,
    kind,
    type: `${tableOf(kind.group, kind.version)}.${kind.kind}`,
    idSuffix: `${scope}${row.kind}${capitalize(subresource?.name ?? '')}`,
    ...(subresource ? { subresource } : {}),
  };
}

function rootOf(row: ResourceRow): string {
  return row.group === '' ? `/api/${row.version}` : `/apis/${formatApiVersion(row)}`;
}

function collectionItem(row: ResourceRow, path: string): PathItem {
  const target = targetOf(row);
  const scope = row.namespaced ? 'Namespaced' : '';
  const operations: Operation[] = [];
  if (row.verbs.includes('deletecollection')) operations.push(deleteCollection(target, scope));
  if (row.verbs.includes('list')) operations.push(listOperation(target, `${scope}${row.kind}`));
  if (row.verbs.includes('create')) operations.push(operationOf('create', target));
  return { path, parameters: [...(row.namespaced ? [NAMESPACE] : []), PRETTY], operations };
}

const NAME_VERBS = ['delete', 'get', 'patch', 'update'] as const;

function nameItem(row: ResourceRow, collection: string): PathItem {
  const target = targetOf(row);
  return {
    path: `${collection}/{name}`,
    parameters: nameParameters(row),
    operations: NAME_VERBS.filter((verb) => row.verbs.includes(verb)).map((verb) =>
      operationOf(verb, target),
    ),
  };
}

function nameParameters(row: ResourceRow): readonly Parameter[] {
  return [pathParameter('name', `Name of the ${row.kind}.`), ...(row.namespaced ? [NAMESPACE] : []), PRETTY];
}

/** Kinds of the streams that a subresource opens, which have no type of their own. */
function isConnect(subresource: SubresourceRow): boolean {
  return subresource.kind?.endsWith('Options') === true;
}

function connectOperation(verb: string, target: Target): Operation {
  const method = METHODS[verb]!;
  return {
    method,
    id: `connect${idPrefix(target.row)}${capitalize(method)}${target.idSuffix}`,
    description: `connect ${method.toUpperCase()} requests to ${target.subresource?.name} of ${target.row.kind}`,
    action: 'connect',
    kind: target.kind,
    parameters: [],
  };
}

/** The log of a pod is text. */
function logItem(target: Target, collection: string): PathItem {
  const { answer: _answer, ...operation } = operationOf('get', target);
  return {
    path: `${collection}/{name}/log`,
    parameters: nameParameters(target.row),
    operations: [operation],
  };
}

function subresourceItem(row: ResourceRow, subresource: SubresourceRow, collection: string): PathItem {
  const target = targetOf(row, subresource);
  if (subresource.name === 'log') return logItem(target, collection);
  const isRaw = isConnect(subresource);
  return {
    path: `${collection}/{name}/${subresource.name}`,
    parameters: nameParameters(row),
    operations: subresource.verbs.map((verb) =>
      isRaw ? connectOperation(verb, target) : operationOf(verb, target),
    ),
  };
}

/** All paths of one resource, in a stable order. */
export function pathsOf(row: ResourceRow): readonly PathItem[] {
  const scope = row.namespaced ? '/namespaces/{namespace}' : '';
  const collection = `${rootOf(row)}${scope}/${row.plural}`;
  const items: PathItem[] = [];
  if (row.namespaced && row.verbs.includes('list'))
    items.push({
      path: `${rootOf(row)}/${row.plural}`,
      parameters: [PRETTY],
      operations: [listOperation(targetOf(row), `${row.kind}ForAllNamespaces`)],
    });
  items.push(collectionItem(row, collection));
  if (NAME_VERBS.some((verb) => row.verbs.includes(verb))) items.push(nameItem(row, collection));
  for (const subresource of row.subresources ?? []) items.push(subresourceItem(row, subresource, collection));
  return items;
}
