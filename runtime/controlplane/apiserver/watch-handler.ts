import type { ServerResponse } from 'node:http';
import type { ClusterState } from '../store/cluster-state.ts';
import { formatStatus } from './answers.ts';
import type { Call } from './call.ts';
import { storedRowOf } from './conversions.ts';
import { parseRevision, waitForRevision } from './list-handler.ts';
import { formatWatchLine, type Presenter } from './presenter.ts';
import { isTrue } from './routes.ts';
import { expired, invalid } from './status-errors.ts';
import { isSelected, type Selection, selectEvent, WatchHub } from './watch-hub.ts';

const BOOKMARK_INTERVAL_MS = 55_000;
const DEFAULT_TIMEOUT_SECONDS = 1800;
/** A client that reads slower than this much behind is cut off; it will come back. */
const MAX_BACKLOG_BYTES = 16 * 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;
const INITIAL_EVENTS_END = { 'k8s.io/initial-events-end': 'true' };

/** Serves WATCH requests; holds the hubs of all resources. */
export class WatchServer {
  readonly #state: ClusterState;
  readonly #hubs = new Map<object, WatchHub>();
  readonly #open = new Set<() => void>();
  readonly #random: () => number;

  constructor(state: ClusterState, random: () => number) {
    this.#state = state;
    this.#random = random;
  }

  get openCount(): number {
    return this.#open.size;
  }

  /** Ends every watch cleanly, for shutdown. */
  closeAll(): void {
    for (const close of [...this.#open]) close();
  }

  /** @throws StatusError 422, 504 before the answer has begun */
  async serve(call: Call, selection: Selection, presenter: Presenter): Promise<void> {
    const options = parseWatchOptions(call.info.query);
    if (options.revision > this.#state.revision) await waitForRevision(this.#state, options.revision);
    const { response } = call;
    if (response.destroyed) return;
    response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache, private' });
    const resource = this.#state.resource(storedRowOf(call.row));
    if (!options.sendsState && options.revision < resource.oldestRevision && options.revision > 0) {
      const { status } = expired(
        `too old resource version: ${options.revision} (${resource.oldestRevision})`,
      );
      response.end(formatWatchLine('ERROR', Buffer.from(JSON.stringify(formatStatus(status)))));
      return;
    }
    const bookmark = (annotations?: object) =>
      formatWatchLine('BOOKMARK', formatBookmark(call, presenter, this.#state.revision, annotations));
    if (options.sendsState) {
      const objects = resource.list(selection.namespace).filter((object) => isSelected(object, selection));
      writeLines(
        response,
        objects.map((object) => formatWatchLine('ADDED', presenter.present(object))),
      );
      if (options.marksEnd) response.write(bookmark(INITIAL_EVENTS_END));
    } else if (options.revision > 0) {
      const shown = resource.eventsAfter(options.revision).map((event) => selectEvent(event, selection));
      const lines = shown.filter((event) => event !== undefined);
      writeLines(
        response,
        lines.map(({ type, object }) => formatWatchLine(type, presenter.present(object))),
      );
    }
    response.flushHeaders();
    const leave = this.#hub(resource).join(selection, presenter, (lines) => {
      if (response.writableLength > MAX_BACKLOG_BYTES) response.destroy();
      else response.write(lines);
    });
    this.#keepOpen(response, leave, options, () => response.write(bookmark()));
  }

  #keepOpen(response: ServerResponse, leave: () => void, options: WatchOptions, mark: () => void): void {
    const seconds = options.timeoutSeconds || DEFAULT_TIMEOUT_SECONDS * (1 + this.#random());
    const close = () => {
      finish();
      response.end();
    };
    const timeout = setTimeout(close, seconds * 1000);
    const marks = options.hasBookmarks ? setInterval(mark, BOOKMARK_INTERVAL_MS) : undefined;
    const finish = () => {
      leave();
      clearTimeout(timeout);
      clearInterval(marks);
      this.#open.delete(close);
    };
    this.#open.add(close);
    response.once('close', finish);
  }

  #hub(resource: ReturnType<ClusterState['resource']>): WatchHub {
    const known = this.#hubs.get(resource);
    if (known) return known;
    const hub = new WatchHub(resource);
    this.#hubs.set(resource, hub);
    return hub;
  }
}

interface WatchOptions {
  readonly revision: number;
  /** The present state comes first, as ADDED. */
  readonly sendsState: boolean;
  /** WatchList: a bookmark tells where the present state ends. */
  readonly marksEnd: boolean;
  readonly hasBookmarks: boolean;
  readonly timeoutSeconds: number;
}

function parseWatchOptions(query: URLSearchParams): WatchOptions {
  const initial = query.get('sendInitialEvents');
  const match = query.get('resourceVersionMatch') || '';
  const isWatchList = isTrue(initial);
  if (initial !== null && match !== 'NotOlderThan') {
    throw refuse(
      'resourceVersionMatch',
      'Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
    );
  }
  if (initial === null && match !== '') {
    throw refuse(
      'resourceVersionMatch',
      'Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
    );
  }
  const revision = parseRevision(query.get('resourceVersion'));
  const hasBookmarks = isTrue(query.get('allowWatchBookmarks'));
  return {
    revision,
    sendsState: isWatchList || (initial === null && revision === 0),
    marksEnd: isWatchList && hasBookmarks,
    hasBookmarks,
    timeoutSeconds: Math.max(0, Number(query.get('timeoutSeconds') || 0) || 0),
  };
}

function refuse(field: string, message: string) {
  const causes = [{ reason: 'FieldValueForbidden', message, field }];
  return invalid({ group: 'meta.k8s.io', kind: 'ListOptions' }, '', causes);
}

function formatBookmark(call: Call, presenter: Presenter, revision: number, annotations?: object): Buffer {
  const metadata = {
    resourceVersion: String(revision),
    creationTimestamp: null,
    ...(annotations ? { annotations } : {}),
  };
  const { row } = call;
  if (presenter.accepted.as === 'Table') {
    const table = { kind: 'Table', apiVersion: 'meta.k8s.io/v1', metadata, columnDefinitions: [], rows: [] };
    return Buffer.from(JSON.stringify(table));
  }
  if (presenter.accepted.as === 'PartialObjectMetadata') {
    return Buffer.from(
      JSON.stringify({ kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1', metadata }),
    );
  }
  const apiVersion = row.group === '' ? row.version : `${row.group}/${row.version}`;
  return Buffer.from(JSON.stringify({ kind: row.kind, apiVersion, metadata }));
}

function writeLines(response: ServerResponse, lines: readonly Buffer[]): void {
  let chunk: Buffer[] = [];
  let bytes = 0;
  for (const line of lines) {
    chunk.push(line);
    bytes += line.length;
    if (bytes < CHUNK_BYTES) continue;
    response.write(Buffer.concat(chunk));
    chunk = [];
    bytes = 0;
  }
  if (bytes > 0) response.write(Buffer.concat(chunk));
}
