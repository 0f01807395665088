import type { KubeObject } from '../../api/kinds.ts';
import { RESOURCES, type ResourceRow } from '../../api/resources.ts';

type Fields = Record<string, unknown>;

/** A row that is another row's objects in another version or group. */
interface ConversionRow {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly storedGroup: string;
  readonly storedVersion: string;
  readonly out: (stored: Fields) => Fields;
  readonly in: (served: Fields) => Fields;
}

const CONVERSIONS: readonly ConversionRow[] = [
  {
    group: 'events.k8s.io',
    version: 'v1',
    plural: 'events',
    storedGroup: '',
    storedVersion: 'v1',
    out: (event) => rename(event, EVENT_FIELDS, 0, 1),
    in: (event) => rename(event, EVENT_FIELDS, 1, 0),
  },
  {
    group: 'autoscaling',
    version: 'v1',
    plural: 'horizontalpodautoscalers',
    storedGroup: 'autoscaling',
    storedVersion: 'v2',
    out: scalerToV1,
    in: scalerToV2,
  },
];

/** Fields of a core/v1 Event and their names in events.k8s.io/v1. */
const EVENT_FIELDS: readonly (readonly [string, string])[] = [
  ['involvedObject', 'regarding'],
  ['message', 'note'],
  ['source', 'deprecatedSource'],
  ['firstTimestamp', 'deprecatedFirstTimestamp'],
  ['lastTimestamp', 'deprecatedLastTimestamp'],
  ['count', 'deprecatedCount'],
  ['reportingComponent', 'reportingController'],
];

/** The row whose objects are stored for this row: itself, or that of its group's main version. */
export function storedRowOf(row: ResourceRow): ResourceRow {
  const conversion = findConversion(row);
  if (!conversion) return row;
  return RESOURCES.find(
    (candidate) =>
      candidate.group === conversion.storedGroup &&
      candidate.version === conversion.storedVersion &&
      candidate.plural === row.plural,
  )!;
}

/** The rows that have objects of their own, reviews and bindings among them. */
export function storedRows(rows: readonly ResourceRow[]): readonly ResourceRow[] {
  return rows.filter((row) => findConversion(row) === undefined && row.verbs.includes('list'));
}

/** What turns a stored object into one of this row; undefined when it is one. */
export function convertOut(row: ResourceRow): ((object: KubeObject) => KubeObject) | undefined {
  const conversion = findConversion(row);
  return conversion && ((object) => withType(row, conversion.out(object as Fields)));
}

/** What turns an object of this row into a stored one. */
export function convertIn(row: ResourceRow): ((object: KubeObject) => KubeObject) | undefined {
  const conversion = findConversion(row);
  const stored = storedRowOf(row);
  return conversion && ((object) => withType(stored, conversion.in(object as Fields)));
}

function findConversion(row: ResourceRow): ConversionRow | undefined {
  return CONVERSIONS.find(
    (conversion) =>
      conversion.plural === row.plural &&
      conversion.group === row.group &&
      conversion.version === row.version,
  );
}

function withType(row: ResourceRow, fields: Fields): KubeObject {
  const apiVersion = row.group === '' ? row.version : `${row.group}/${row.version}`;
  const { kind: _kind, apiVersion: _apiVersion, ...rest } = fields;
  return { kind: row.kind, apiVersion, ...rest };
}

function rename(
  fields: Fields,
  names: readonly (readonly [string, string])[],
  from: 0 | 1,
  to: 0 | 1,
): Fields {
  const renamed = new Map(names.map((pair) => [pair[from], pair[to]]));
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [renamed.get(key) ?? key, value]));
}

function scalerToV1(stored: Fields): Fields {
  const { metrics, behavior: _behavior, ...spec } = (stored['spec'] ?? {}) as Fields;
  const status = (stored['status'] ?? {}) as Fields;
  const { currentMetrics, conditions: _conditions, ...rest } = status;
  const target = utilization(metrics, 'target');
  const current = utilization(currentMetrics, 'current');
  return {
    ...stored,
    spec: { ...spec, ...(target === undefined ? {} : { targetCPUUtilizationPercentage: target }) },
    status: { ...rest, ...(current === undefined ? {} : { currentCPUUtilizationPercentage: current }) },
  };
}

function scalerToV2(served: Fields): Fields {
  const { targetCPUUtilizationPercentage: target, ...spec } = (served['spec'] ?? {}) as Fields;
  const { currentCPUUtilizationPercentage: current, ...status } = (served['status'] ?? {}) as Fields;
  const metric = (value: unknown, field: string) => [
    {
      type: 'Resource',
      resource: { name: 'cpu', [field]: { type: 'Utilization', averageUtilization: value } },
    },
  ];
  return {
    ...served,
    spec: { ...spec, ...(target === undefined ? {} : { metrics: metric(target, 'target') }) },
    status: { ...status, ...(current === undefined ? {} : { currentMetrics: metric(current, 'current') }) },
  };
}

function utilization(metrics: unknown, field: 'target' | 'current'): unknown {
  const list = (metrics ?? []) as readonly { type?: string; resource?: Fields }[];
  const cpu = list.find((metric) => metric.type === 'Resource' && metric.resource?.['name'] === 'cpu');
  return (cpu?.resource?.[field] as Fields | undefined)?.['averageUtilization'];
}
