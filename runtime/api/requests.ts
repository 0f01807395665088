import type { Status } from './api-error.ts';
import type { Kind, KubeObject } from './kinds.ts';
import { formatApiVersion, formatCollectionPath } from './resources.ts';

/** A query parameter; what is undefined is not sent. */
export type QueryValue = string | number | boolean | undefined;

/** What a request has besides its method and path. */
export interface RequestOptions {
  readonly query?: Readonly<Record<string, QueryValue>> | undefined;
  /** An object is sent as JSON; text and bytes as they are. */
  readonly body?: unknown;
  readonly contentType?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A list as the server answers it; `continue` names the next page. */
export interface ObjectList<T> {
  readonly metadata: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items: T[];
}

/** What a list is to hold. */
export interface ListOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly limit?: number | undefined;
  readonly continue?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a watch is to tell of. */
export interface WatchOptions extends ListOptions {
  readonly allowBookmarks?: boolean;
  /** WatchList: the present state as ADDED events, then the annotated bookmark. */
  readonly sendInitialEvents?: boolean;
  readonly timeoutSeconds?: number;
}

/** An event of a watch as the server sends it. */
export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; readonly object: T }
  | { readonly type: 'ERROR'; readonly object: Status };

/** `metav1.DeleteOptions`. */
export interface DeleteOptions {
  readonly propagationPolicy?: 'Foreground' | 'Background' | 'Orphan';
  readonly gracePeriodSeconds?: number;
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
}

/** How a patch is meant. */
export type PatchType = 'json' | 'merge' | 'strategic' | 'apply';

/** The media type of each kind of patch. */
export const PATCH_CONTENT_TYPES: Readonly<Record<PatchType, string>> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
};

/** Names an object within its collection; `namespace` stays undefined for cluster-scoped kinds. */
export interface ObjectRef {
  readonly name: string;
  readonly namespace?: string | undefined;
  readonly subresource?: string | undefined;
}

/** "/api/v1/namespaces/NS/pods/NAME/status" */
export function objectPath(kind: Kind<KubeObject>, ref: ObjectRef): string {
  const path = `${formatCollectionPath(kind, ref.namespace)}/${encodeURIComponent(ref.name)}`;
  return ref.subresource === undefined ? path : `${path}/${ref.subresource}`;
}

/** The path with its query. */
export function formatPath(path: string, query: RequestOptions['query']): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) parameters.append(name, String(value));
  }
  const text = parameters.toString();
  return text === '' ? path : `${path}${path.includes('?') ? '&' : '?'}${text}`;
}

/** The bytes of a body; undefined for none. */
export function encodeBody(body: unknown): string | Uint8Array | undefined {
  if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) return body;
  return JSON.stringify(body);
}

/** The object with the apiVersion and kind that its collection asks for. */
export function withTypeMeta<T extends KubeObject>(kind: Kind<T>, object: T): T {
  return { ...object, apiVersion: formatApiVersion(kind), kind: kind.kind };
}
