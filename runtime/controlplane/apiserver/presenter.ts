import type { KubeObject } from '../../api/kinds.ts';
import type { ResourceRow } from '../../api/resources.ts';
import type { ChangeType, StateObject } from '../store/resource-state.ts';
import { convertOut } from './conversions.ts';
import { type Accepted, chooseAccepted } from './negotiate.ts';

export type IncludeObject = 'None' | 'Metadata' | 'Object';

/** A `meta.k8s.io/v1` Table. */
export interface Table {
  readonly columnDefinitions: readonly object[];
  readonly rows: readonly object[];
}

/** Builds the Table of objects of one row. */
export type TableBuilder = (
  row: ResourceRow,
  objects: readonly KubeObject[],
  options: { readonly includeObject: IncludeObject; readonly now: Date },
) => Table;

/** How the objects of one answer are shown: as they are, as rows of a Table, or as their metadata. */
export interface Presenter {
  readonly accepted: Accepted;
  /** Names this view: equal keys give equal bytes. */
  readonly key: string;
  /** One object's JSON. */
  present(object: StateObject): Buffer;
  presentList(objects: readonly StateObject[], metadata: object): readonly Buffer[];
}

export interface PresenterOptions {
  readonly row: ResourceRow;
  readonly accept: string | undefined;
  readonly query: URLSearchParams;
  readonly now: () => Date;
  readonly loadTableBuilder: () => Promise<TableBuilder>;
}

/** @throws StatusError 406 */
export async function createPresenter(options: PresenterOptions): Promise<Presenter> {
  const accepted = chooseAccepted(options.accept, (form) => form.discovery === undefined);
  if (accepted.as === 'Table')
    return createTablePresenter(options, accepted, await options.loadTableBuilder());
  if (accepted.as === 'PartialObjectMetadata') return createMetadataPresenter(accepted);
  return createPlainPresenter(options.row, accepted);
}

/** One line of a watch. */
export function formatWatchLine(type: ChangeType | 'BOOKMARK' | 'ERROR', object: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`{"type":"${type}","object":`), object, LINE_END]);
}

const LINE_END = Buffer.from('}\n');
const COMMA = Buffer.from(',');
const LIST_END = Buffer.from(']}');

function createPlainPresenter(row: ResourceRow, accepted: Accepted): Presenter {
  const convert = convertOut(row);
  const present = (object: StateObject) =>
    convert ? Buffer.from(JSON.stringify(convert(object.object))) : object.bytes;
  const apiVersion = row.group === '' ? row.version : `${row.group}/${row.version}`;
  return {
    accepted,
    key: `object/${apiVersion}`,
    present,
    presentList: (objects, metadata) =>
      joinList(`${row.kind}List`, apiVersion, metadata, objects.map(present)),
  };
}

function createMetadataPresenter(accepted: Accepted): Presenter {
  const present = (object: StateObject) =>
    Buffer.from(
      JSON.stringify({
        kind: 'PartialObjectMetadata',
        apiVersion: 'meta.k8s.io/v1',
        metadata: object.object.metadata,
      }),
    );
  return {
    accepted,
    key: 'metadata',
    present,
    presentList: (objects, metadata) =>
      joinList('PartialObjectMetadataList', 'meta.k8s.io/v1', metadata, objects.map(present)),
  };
}

function createTablePresenter(options: PresenterOptions, accepted: Accepted, build: TableBuilder): Presenter {
  const includeObject = (options.query.get('includeObject') || 'Metadata') as IncludeObject;
  const convert = convertOut(options.row);
  const table = (objects: readonly StateObject[], metadata: object) => {
    const shown = objects.map(({ object }) => (convert ? convert(object) : object));
    const { columnDefinitions, rows } = build(options.row, shown, { includeObject, now: options.now() });
    return Buffer.from(
      JSON.stringify({ kind: 'Table', apiVersion: 'meta.k8s.io/v1', metadata, columnDefinitions, rows }),
    );
  };
  return {
    accepted,
    key: `table/${includeObject}/${options.row.version}`,
    present: (object) => table([object], { resourceVersion: String(object.revision) }),
    presentList: (objects, metadata) => [table(objects, metadata)],
  };
}

function joinList(
  kind: string,
  apiVersion: string,
  metadata: object,
  items: readonly Buffer[],
): readonly Buffer[] {
  const parts: Buffer[] = [
    Buffer.from(
      `{"kind":"${kind}","apiVersion":"${apiVersion}","metadata":${JSON.stringify(metadata)},"items":[`,
    ),
  ];
  for (const [index, item] of items.entries()) {
    if (index > 0) parts.push(COMMA);
    parts.push(item);
  }
  parts.push(LIST_END);
  return parts;
}
