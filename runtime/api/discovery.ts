import { formatApiVersion, type ResourceRow, type SubresourceRow } from './resources.ts';
import type { JsonObject } from './schema/types.ts';

/** A resource as discovery shows it; custom resources name their singular. */
export type DiscoveryRow = ResourceRow & { readonly singular?: string };

/** Built-in groups in the order in which clients should try them; others follow by name. */
const GROUP_ORDER: readonly string[] = [
  '',
  'apiregistration.k8s.io',
  'apps',
  'events.k8s.io',
  'authentication.k8s.io',
  'authorization.k8s.io',
  'autoscaling',
  'batch',
  'certificates.k8s.io',
  'networking.k8s.io',
  'policy',
  'rbac.authorization.k8s.io',
  'storage.k8s.io',
  'admissionregistration.k8s.io',
  'apiextensions.k8s.io',
  'scheduling.k8s.io',
  'coordination.k8s.io',
  'node.k8s.io',
  'discovery.k8s.io',
  'resource.k8s.io',
  'flowcontrol.apiserver.k8s.io',
];

function groupRank(group: string): number {
  const index = GROUP_ORDER.indexOf(group);
  return index < 0 ? GROUP_ORDER.length : index;
}

const VERSION = /^v(\d+)(?:(alpha|beta)(\d+))?$/;
const STAGES = ['alpha', 'beta', undefined] as const;

/**
 * Orders versions, preferred first: v2, v1, v1beta2, v1alpha1, then others by name (Kubernetes
 * documentation "Version priority" of CustomResourceDefinitions).
 */
export function compareVersions(left: string, right: string): number {
  const [a, b] = [VERSION.exec(left), VERSION.exec(right)];
  if (!a || !b) return a ? -1 : b ? 1 : left < right ? -1 : left > right ? 1 : 0;
  const stage = (match: RegExpExecArray): number => STAGES.indexOf(match[2] as 'alpha' | 'beta' | undefined);
  return stage(b) - stage(a) || Number(b[1]) - Number(a[1]) || Number(b[3] ?? 0) - Number(a[3] ?? 0);
}

/** Named groups (not the core) of the rows, in order. */
function listGroups(rows: readonly DiscoveryRow[]): string[] {
  const groups = new Set(rows.map(({ group }) => group).filter((group) => group !== ''));
  return [...groups].sort((a, b) => groupRank(a) - groupRank(b) || (a < b ? -1 : 1));
}

function listVersions(rows: readonly DiscoveryRow[], group: string): string[] {
  const versions = new Set(rows.filter((row) => row.group === group).map(({ version }) => version));
  return [...versions].sort(compareVersions);
}

function rowsOf(rows: readonly DiscoveryRow[], group: string, version: string): DiscoveryRow[] {
  return rows
    .filter((row) => row.group === group && row.version === version)
    .sort((a, b) => (a.plural < b.plural ? -1 : 1));
}

function singularOf(row: DiscoveryRow): string {
  return row.singular ?? row.kind.toLowerCase();
}

function subresourcesOf(row: DiscoveryRow): readonly SubresourceRow[] {
  return [...(row.subresources ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Empty group and version stand for those of the list itself. */
function responseKind(row: DiscoveryRow, subresource?: SubresourceRow): JsonObject {
  return {
    group: subresource?.group ?? '',
    version: subresource?.version ?? '',
    kind: subresource?.kind ?? row.kind,
  };
}

function aggregatedResource(row: DiscoveryRow): JsonObject {
  return {
    resource: row.plural,
    responseKind: responseKind(row),
    scope: row.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: singularOf(row),
    verbs: row.verbs,
    ...(row.shortNames ? { shortNames: row.shortNames } : {}),
    ...(row.categories ? { categories: row.categories } : {}),
    ...(row.subresources?.length
      ? {
          subresources: subresourcesOf(row).map((subresource) => ({
            subresource: subresource.name,
            responseKind: responseKind(row, subresource),
            verbs: subresource.verbs,
          })),
        }
      : {}),
  };
}

function aggregatedGroup(rows: readonly DiscoveryRow[], group: string): JsonObject {
  return {
    metadata: group === '' ? {} : { name: group },
    versions: listVersions(rows, group).map((version) => ({
      version,
      resources: rowsOf(rows, group, version).map(aggregatedResource),
      freshness: 'Current',
    })),
  };
}

/** `APIGroupDiscoveryList` of apidiscovery.k8s.io/v2: the answer of `/api` ("core") or `/apis` ("groups"). */
export function buildAggregatedDiscovery(rows: readonly DiscoveryRow[], root: 'core' | 'groups'): JsonObject {
  const groups = root === 'core' ? [''] : listGroups(rows);
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: 'apidiscovery.k8s.io/v2',
    metadata: {},
    items: groups.map((group) => aggregatedGroup(rows, group)),
  };
}

/** `APIVersions`, the legacy answer of `/api`; serverAddress is "host:port". */
export function buildApiVersions(serverAddress: string): JsonObject {
  return {
    kind: 'APIVersions',
    versions: ['v1'],
    serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress }],
  };
}

function groupEntry(rows: readonly DiscoveryRow[], group: string): JsonObject {
  const versions = listVersions(rows, group).map((version) => ({
    groupVersion: formatApiVersion({ group, version }),
    version,
  }));
  return { name: group, versions, preferredVersion: versions[0] };
}

/** `APIGroupList`, the legacy answer of `/apis`. */
export function buildApiGroupList(rows: readonly DiscoveryRow[]): JsonObject {
  const groups = listGroups(rows).map((group) => groupEntry(rows, group));
  return { kind: 'APIGroupList', apiVersion: 'v1', groups };
}

/** `APIGroup`, the answer of `/apis/GROUP`; undefined when no row has the group. */
export function buildApiGroup(rows: readonly DiscoveryRow[], group: string): JsonObject | undefined {
  if (group === '' || !rows.some((row) => row.group === group)) return undefined;
  return { kind: 'APIGroup', apiVersion: 'v1', ...groupEntry(rows, group) };
}

function legacyResources(row: DiscoveryRow): JsonObject[] {
  return [
    {
      name: row.plural,
      singularName: singularOf(row),
      namespaced: row.namespaced,
      kind: row.kind,
      verbs: row.verbs,
      ...(row.shortNames ? { shortNames: row.shortNames } : {}),
      ...(row.categories ? { categories: row.categories } : {}),
    },
    ...subresourcesOf(row).map((subresource) => ({
      name: `${row.plural}/${subresource.name}`,
      singularName: '',
      namespaced: row.namespaced,
      kind: subresource.kind ?? row.kind,
      verbs: subresource.verbs,
      ...(subresource.group === undefined ? {} : { group: subresource.group, version: subresource.version }),
    })),
  ];
}

/** `APIResourceList`, the answer of `/api/v1` or `/apis/GROUP/VERSION`; undefined when no row has them. */
export function buildApiResourceList(
  rows: readonly DiscoveryRow[],
  group: string,
  version: string,
): JsonObject | undefined {
  const own = rowsOf(rows, group, version);
  if (own.length === 0) return undefined;
  return {
    kind: 'APIResourceList',
    ...(group === '' ? {} : { apiVersion: 'v1' }),
    groupVersion: formatApiVersion({ group, version }),
    resources: own.flatMap(legacyResources),
  };
}
