import type { ClusterState } from '../store/cluster-state.ts';
import { formatId } from '../store/cluster-state.ts';
import { formatResource } from '../store/keys.ts';
import type { ResourceState, StateObject } from '../store/resource-state.ts';
import { sendParts } from './answers.ts';
import type { Call } from './call.ts';
import { storedRowOf } from './conversions.ts';
import type { Presenter } from './presenter.ts';
import { StatusError } from './status-error.ts';
import { badRequest, expired, futureRevision, invalid, notFound } from './status-errors.ts';
import { isSelected, type Selection } from './watch-hub.ts';

const LIST_OPTIONS = { group: 'meta.k8s.io', kind: 'ListOptions' };
const FUTURE_WAIT_MS = 3000;

/** Reads one object. @throws StatusError 404 */
export function getObject(state: ClusterState, call: Call): StateObject {
  const { name, namespace } = call.info;
  const row = storedRowOf(call.row);
  const found = state.resource(row).get(formatId(row.namespaced ? namespace : '', name));
  if (!found) throw notFound(call.row, name);
  return found;
}

/** Answers a LIST, whole or one chunk of it. @throws StatusError 400, 410, 422, 504 */
export async function answerList(
  state: ClusterState,
  call: Call,
  selection: Selection,
  presenter: Presenter,
): Promise<void> {
  const options = parseListOptions(call.info.query);
  if (options.revision > state.revision) await waitForRevision(state, options.revision);
  const resource = state.resource(storedRowOf(call.row));
  const page = readPage(resource, selection, options, state.revision);
  const metadata = {
    resourceVersion: String(page.revision),
    ...(page.next ? { continue: page.next } : {}),
    ...(page.remaining ? { remainingItemCount: page.remaining } : {}),
  };
  await sendParts(call.request, call.response, presenter.presentList(page.objects, metadata));
}

/** Waits a little for a revision that another server may just have written. @throws StatusError 504 */
export async function waitForRevision(state: ClusterState, revision: number): Promise<void> {
  const isThere = await state.reached(revision, FUTURE_WAIT_MS);
  if (!isThere) throw futureRevision(revision, state.revision);
}

/**
 * A resourceVersion of a query: 0 for none or "0".
 * @throws StatusError 400
 */
export function parseRevision(text: string | null): number {
  if (text === null || text === '' || text === '0') return 0;
  if (!/^[1-9]\d*$/.test(text)) {
    throw badRequest(
      `resourceVersion: Invalid value: "${text}": strconv.ParseUint: parsing "${text}": invalid syntax`,
    );
  }
  return Number(text);
}

interface ListOptions {
  readonly limit: number;
  readonly revision: number;
  /** Exactly the state of `revision`, not one that is newer. */
  readonly isExact: boolean;
  /** Only objects behind this id. */
  readonly after: string;
  /** The client goes on behind an expired token: the newest state will do. */
  readonly isInconsistent: boolean;
}

interface Page {
  readonly objects: readonly StateObject[];
  readonly revision: number;
  readonly next: string | undefined;
  readonly remaining: number | undefined;
}

function parseListOptions(query: URLSearchParams): ListOptions {
  const limit = Math.max(0, Number.parseInt(query.get('limit') || '0', 10) || 0);
  const match = query.get('resourceVersionMatch') || '';
  const text = query.get('resourceVersion') || '';
  const token = query.get('continue') || '';
  if (match !== '') checkMatch(match, text, token);
  const revision = parseRevision(text);
  if (token !== '') {
    if (revision !== 0) throw badRequest('specifying resource version is not allowed when using continue');
    const { rv, start } = parseToken(token);
    return { limit, revision: Math.max(rv, 0), isExact: rv > 0, after: start, isInconsistent: rv <= 0 };
  }
  const isExact = revision > 0 && (match === 'Exact' || (match === '' && limit > 0));
  return { limit, revision, isExact, after: '', isInconsistent: false };
}

function checkMatch(match: string, revision: string, token: string): void {
  const fail = (message: string) =>
    invalid(LIST_OPTIONS, '', [{ reason: 'FieldValueForbidden', message, field: 'resourceVersionMatch' }]);
  if (token !== '') {
    throw fail('Forbidden: resourceVersionMatch is forbidden when continue is provided');
  }
  if (revision === '') {
    throw fail('Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided');
  }
  if (match !== 'Exact' && match !== 'NotOlderThan') {
    throw fail(`Unsupported value: "${match}": supported values: "Exact", "NotOlderThan"`);
  }
  if (match === 'Exact' && revision === '0') {
    throw fail('Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
  }
}

function readPage(resource: ResourceState, selection: Selection, options: ListOptions, newest: number): Page {
  const revision = options.isExact ? options.revision : newest;
  if (options.isExact && revision < resource.oldestRevision) throw tooOld(options);
  const all = resource.listAt(revision, selection.namespace);
  const start = options.after === '' ? 0 : firstBehind(all, options.after);
  if (options.limit === 0 && start === 0 && !selection.matches) {
    return { objects: all, revision, next: undefined, remaining: undefined };
  }
  const objects: StateObject[] = [];
  let at = start;
  for (; at < all.length && (options.limit === 0 || objects.length < options.limit); at += 1) {
    if (isSelected(all[at]!, selection)) objects.push(all[at]!);
  }
  // Whether more objects match is only known by looking.
  while (selection.matches && at < all.length && !isSelected(all[at]!, selection)) at += 1;
  const isEnd = at >= all.length;
  return {
    objects,
    revision,
    next: isEnd ? undefined : formatToken(revision, objects.at(-1)!.id),
    remaining: isEnd || selection.matches ? undefined : all.length - at,
  };
}

function firstBehind(objects: readonly StateObject[], id: string): number {
  let low = 0;
  let high = objects.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (objects[middle]!.id <= id) low = middle + 1;
    else high = middle;
  }
  return low;
}

function tooOld(options: ListOptions): StatusError {
  if (options.after === '') return expired(`too old resource version: ${options.revision}`);
  return new StatusError(410, {
    reason: 'Expired',
    message:
      'The provided continue parameter is too old to display a consistent list result. You can start a new list ' +
      'without the continue parameter, or use the continue token in this response to retrieve the remainder of ' +
      'the results. Continuing with the provided token results in an inconsistent list - objects that were ' +
      'created, modified, or deleted between the time the first chunk was returned and now may show up in the list.',
    metadata: { continue: formatToken(-1, options.after) },
  });
}

function formatToken(rv: number, id: string): string {
  return Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv, start: id })).toString('base64url');
}

function parseToken(token: string): { readonly rv: number; readonly start: string } {
  try {
    const { rv, start } = JSON.parse(Buffer.from(token, 'base64url').toString()) as Record<string, unknown>;
    if (typeof rv === 'number' && typeof start === 'string') return { rv, start };
  } catch {
    // Not one of ours: refused below.
  }
  throw badRequest('continue key is not valid');
}

/** "namespace|labelSelector|fieldSelector" of a resource, for grouping. */
export function formatSelectionKey(call: Call): string {
  const { namespace, query } = call.info;
  return `${formatResource(call.row)}|${namespace}|${query.get('labelSelector') ?? ''}|${query.get('fieldSelector') ?? ''}`;
}
