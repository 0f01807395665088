import type { Printer } from './printers/columns.ts';
import { CORE_PRINTERS } from './printers/core.ts';
import { customPrinter, type PrinterColumn } from './printers/custom.ts';
import { DEFAULT_PRINTER, GROUP_PRINTERS } from './printers/groups.ts';
import { POD_PRINTER } from './printers/pod.ts';
import { WORKLOAD_PRINTERS } from './printers/workloads.ts';
import type { JsonObject } from './schema/types.ts';

export interface TableOptions {
  /** Ages count up to this. */
  readonly now: Date;
  /** What each row carries besides its cells; Metadata by default. */
  readonly includeObject?: 'Metadata' | 'Object' | 'None';
  /** ListMeta of the list; for a single object its own resourceVersion. */
  readonly listMeta?: JsonObject;
  /** `additionalPrinterColumns` of a custom resource. */
  readonly printerColumns?: readonly PrinterColumn[];
  /** False for the second and later events of a watch, which leave the columns out. */
  readonly withColumns?: boolean;
}

const PRINTERS: Readonly<Record<string, Printer>> = {
  '/Pod': POD_PRINTER,
  ...CORE_PRINTERS,
  ...WORKLOAD_PRINTERS,
  ...GROUP_PRINTERS,
};

function rowObject(object: JsonObject, include: 'Metadata' | 'Object' | 'None'): JsonObject {
  if (include === 'None') return {};
  if (include === 'Object') return { object };
  return {
    object: {
      kind: 'PartialObjectMetadata',
      apiVersion: 'meta.k8s.io/v1',
      metadata: object['metadata'] ?? {},
    },
  };
}

/** The objects as `metav1.Table`, with the columns that kubectl shows for their kind. */
export function buildTable(
  row: { readonly group: string; readonly kind: string },
  objects: readonly JsonObject[],
  options: TableOptions,
): JsonObject {
  const { now, includeObject = 'Metadata', listMeta = {}, printerColumns, withColumns = true } = options;
  const printer = printerColumns
    ? customPrinter(printerColumns)
    : (PRINTERS[`${row.group}/${row.kind}`] ?? DEFAULT_PRINTER);
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: listMeta,
    columnDefinitions: withColumns ? printer.columns : null,
    rows: objects.map((object) => ({
      cells: printer.cells(object, now),
      ...rowObject(object, includeObject),
    })),
  };
}
