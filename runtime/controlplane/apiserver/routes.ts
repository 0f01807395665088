import { RESOURCES, type ResourceRow, type SubresourceRow, type Verb } from '../../api/resources.ts';

/** A resource of the table with what routing needs at hand. */
export interface Route {
  readonly row: ResourceRow;
  readonly subresources: ReadonlyMap<string, SubresourceRow>;
}

/** Finds rows by group, version and plural. */
export class RouteTable {
  readonly #routes = new Map<string, Route>();

  constructor(rows: readonly ResourceRow[] = RESOURCES) {
    for (const row of rows) this.add(row);
  }

  add(row: ResourceRow): void {
    const subresources = new Map((row.subresources ?? []).map((sub) => [sub.name, sub]));
    this.#routes.set(`${row.group}/${row.version}/${row.plural}`, { row, subresources });
  }

  find(group: string, version: string, plural: string): Route | undefined {
    return this.#routes.get(`${group}/${version}/${plural}`);
  }

  rows(): readonly ResourceRow[] {
    return [...this.#routes.values()].map((route) => route.row);
  }
}

/** A request for objects, as authorization sees it and handlers use it. */
export interface ResourceRequest {
  readonly kind: 'resource';
  /** Verb of the authorization: that of the table, plus "watch" and "deletecollection". */
  readonly verb: Verb;
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** What follows the subresource: the path behind "proxy/". */
  readonly tail: string;
  /** undefined: nothing of this name is served. */
  readonly route: Route | undefined;
  readonly query: URLSearchParams;
}

/** A request for anything else: discovery, health, OpenAPI. `verb` is the method in lower case. */
export interface PathRequest {
  readonly kind: 'path';
  readonly verb: string;
  readonly path: string;
  readonly query: URLSearchParams;
}

const VERBS: Readonly<Record<string, Verb>> = {
  GET: 'get',
  HEAD: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};
const NAMESPACE_SUBRESOURCES = new Set(['status', 'finalize']);

/** Reads method and URL as upstream's RequestInfo does; what is no resource path is a path request. */
export function parseRequest(method: string, url: string, routes: RouteTable): ResourceRequest | PathRequest {
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
  const parts = path.split('/').filter((part) => part !== '');
  const isCore = parts[0] === 'api';
  const head = isCore ? 2 : 3;
  if ((!isCore && parts[0] !== 'apis') || parts.length <= head || VERBS[method] === undefined) {
    return { kind: 'path', verb: method.toLowerCase(), path, query };
  }
  const group = isCore ? '' : parts[1]!;
  const target = parseTarget(parts.slice(head));
  const route = routes.find(group, parts[head - 1]!, target.plural);
  const name = target.name || nameOfSelector(query);
  const verb = resourceVerb(method, target.name, query);
  return { kind: 'resource', verb, group, version: parts[head - 1]!, ...target, name, route, query };
}

interface Target {
  readonly plural: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  readonly tail: string;
}

function parseTarget(parts: readonly string[]): Target {
  const hasNamespace =
    parts[0] === 'namespaces' &&
    parts.length > 2 &&
    !(parts.length === 3 && NAMESPACE_SUBRESOURCES.has(parts[2]!));
  const rest = hasNamespace ? parts.slice(2) : parts;
  const [plural = '', name = '', subresource = ''] = rest;
  const isNamespaceItself = plural === 'namespaces' && !hasNamespace;
  return {
    plural,
    subresource,
    namespace: hasNamespace ? decode(parts[1]!) : isNamespaceItself ? decode(name) : '',
    name: decode(name),
    tail: rest.slice(3).join('/'),
  };
}

function resourceVerb(method: string, name: string, query: URLSearchParams): Verb {
  const verb = VERBS[method]!;
  if (verb === 'get' && isTrue(query.get('watch'))) return 'watch';
  if (name !== '') return verb;
  if (verb === 'get') return 'list';
  return verb === 'delete' ? 'deletecollection' : verb;
}

/** True for "true", "1" and "t", as Go's ParseBool in queries; absent or anything else is false. */
export function isTrue(text: string | null): boolean {
  return text === 'true' || text === '1' || text === 'True' || text === 't';
}

// A list or watch of `metadata.name=x` is authorized as one of that name.
function nameOfSelector(query: URLSearchParams): string {
  const match = /(?:^|,)metadata\.name==?([^,]+)/.exec(query.get('fieldSelector') ?? '');
  return match?.[1] ?? '';
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
