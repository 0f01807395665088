import { parseApiVersion } from '../resources.ts';
import { ADMISSIONREGISTRATION_TYPES } from './admissionregistration.ts';
import { APIEXTENSIONS_TYPES } from './apiextensions.ts';
import { APIREGISTRATION_TYPES } from './apiregistration.ts';
import { APPS_TYPES } from './apps.ts';
import { AUTHENTICATION_TYPES } from './authentication.ts';
import { AUTHORIZATION_TYPES } from './authorization.ts';
import { AUTOSCALING_V1_TYPES } from './autoscaling-v1.ts';
import { AUTOSCALING_V2_TYPES } from './autoscaling-v2.ts';
import { BATCH_TYPES } from './batch.ts';
import { CERTIFICATES_TYPES } from './certificates.ts';
import { COORDINATION_TYPES } from './coordination.ts';
import { CORE_TYPES } from './core.ts';
import { DISCOVERY_TYPES } from './discovery.ts';
import { EVENTS_TYPES } from './events.ts';
import { FLOWCONTROL_TYPES } from './flowcontrol.ts';
import { META_TYPES } from './meta.ts';
import { NETWORKING_TYPES } from './networking.ts';
import { NODE_TYPES } from './node.ts';
import { indexTypeBlocks, parseTypeBlock } from './parse.ts';
import { POLICY_TYPES } from './policy.ts';
import { RBAC_TYPES } from './rbac.ts';
import { RESOURCE_TYPES } from './resource.ts';
import { SCHEDULING_TYPES } from './scheduling.ts';
import { STORAGE_TYPES } from './storage.ts';
import type { TypeSchema } from './types.ts';

/** A table of types: those of one API group and version, or of meta/v1, which all groups share. */
export interface TypeTable {
  readonly table: string;
  readonly group: string;
  readonly version: string;
  /** What OpenAPI documents write in front of the type's own name. */
  readonly openApiPrefix: string;
  readonly text: string;
}

export const TYPE_TABLES: readonly TypeTable[] = [
  {
    table: 'admissionregistration.v1',
    group: 'admissionregistration.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.admissionregistration.v1',
    text: ADMISSIONREGISTRATION_TYPES,
  },
  {
    table: 'apiextensions.v1',
    group: 'apiextensions.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1',
    text: APIEXTENSIONS_TYPES,
  },
  {
    table: 'apiregistration.v1',
    group: 'apiregistration.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.kube-aggregator.pkg.apis.apiregistration.v1',
    text: APIREGISTRATION_TYPES,
  },
  { table: 'apps.v1', group: 'apps', version: 'v1', openApiPrefix: 'io.k8s.api.apps.v1', text: APPS_TYPES },
  {
    table: 'authentication.v1',
    group: 'authentication.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.authentication.v1',
    text: AUTHENTICATION_TYPES,
  },
  {
    table: 'authorization.v1',
    group: 'authorization.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.authorization.v1',
    text: AUTHORIZATION_TYPES,
  },
  {
    table: 'autoscaling.v1',
    group: 'autoscaling',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.autoscaling.v1',
    text: AUTOSCALING_V1_TYPES,
  },
  {
    table: 'autoscaling.v2',
    group: 'autoscaling',
    version: 'v2',
    openApiPrefix: 'io.k8s.api.autoscaling.v2',
    text: AUTOSCALING_V2_TYPES,
  },
  {
    table: 'batch.v1',
    group: 'batch',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.batch.v1',
    text: BATCH_TYPES,
  },
  {
    table: 'certificates.v1',
    group: 'certificates.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.certificates.v1',
    text: CERTIFICATES_TYPES,
  },
  {
    table: 'coordination.v1',
    group: 'coordination.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.coordination.v1',
    text: COORDINATION_TYPES,
  },
  { table: 'core.v1', group: '', version: 'v1', openApiPrefix: 'io.k8s.api.core.v1', text: CORE_TYPES },
  {
    table: 'discovery.v1',
    group: 'discovery.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.discovery.v1',
    text: DISCOVERY_TYPES,
  },
  {
    table: 'events.v1',
    group: 'events.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.events.v1',
    text: EVENTS_TYPES,
  },
  {
    table: 'flowcontrol.v1',
    group: 'flowcontrol.apiserver.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.flowcontrol.v1',
    text: FLOWCONTROL_TYPES,
  },
  {
    table: 'meta.v1',
    group: 'meta.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.apimachinery.pkg.apis.meta.v1',
    text: META_TYPES,
  },
  {
    table: 'networking.v1',
    group: 'networking.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.networking.v1',
    text: NETWORKING_TYPES,
  },
  {
    table: 'node.v1',
    group: 'node.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.node.v1',
    text: NODE_TYPES,
  },
  {
    table: 'policy.v1',
    group: 'policy',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.policy.v1',
    text: POLICY_TYPES,
  },
  {
    table: 'rbac.v1',
    group: 'rbac.authorization.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.rbac.v1',
    text: RBAC_TYPES,
  },
  {
    table: 'resource.v1',
    group: 'resource.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.resource.v1',
    text: RESOURCE_TYPES,
  },
  {
    table: 'scheduling.v1',
    group: 'scheduling.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.scheduling.v1',
    text: SCHEDULING_TYPES,
  },
  {
    table: 'storage.v1',
    group: 'storage.k8s.io',
    version: 'v1',
    openApiPrefix: 'io.k8s.api.storage.v1',
    text: STORAGE_TYPES,
  },
];

/** Kinds of meta/v1 that every group accepts under its own apiVersion. */
const SHARED_KINDS: ReadonlySet<string> = new Set(['DeleteOptions', 'Status', 'WatchEvent']);

const tablesByName = new Map(TYPE_TABLES.map((row) => [row.table, row]));
const tablesByGroupVersion = new Map(TYPE_TABLES.map((row) => [`${row.group}/${row.version}`, row]));
const blocksByTable = new Map<string, ReadonlyMap<string, string>>();
const types = new Map<string, TypeSchema | undefined>();

function blocksOf(row: TypeTable): ReadonlyMap<string, string> {
  let blocks = blocksByTable.get(row.table);
  if (!blocks) {
    blocks = indexTypeBlocks(row.text);
    blocksByTable.set(row.table, blocks);
  }
  return blocks;
}

function splitName(name: string): readonly [string, string] {
  const dot = name.lastIndexOf('.');
  return [name.slice(0, dot), name.slice(dot + 1)];
}

function loadType(name: string): TypeSchema | undefined {
  const [table, own] = splitName(name);
  const row = tablesByName.get(table);
  const block = row && blocksOf(row).get(own);
  return block ? parseTypeBlock(block, table) : undefined;
}

/** The type of this name, "core.v1.Pod"; parsed at the first call. */
export function findType(name: string): TypeSchema | undefined {
  if (types.has(name)) return types.get(name);
  const type = loadType(name);
  types.set(name, type);
  return type;
}

/** The type of this name. Throws plain `Error` when the tables lack it: names come from the tables. */
export function requireType(name: string): TypeSchema {
  const type = findType(name);
  if (!type) throw new Error(`no type ${name}`);
  return type;
}

/** Name of the type of a kind: "apps/v1", "Deployment" → "apps.v1.Deployment"; undefined for custom kinds. */
export function typeOfKind(apiVersion: string, kind: string): string | undefined {
  const { group, version } = parseApiVersion(apiVersion);
  const row = tablesByGroupVersion.get(`${group}/${version}`);
  if (row && findType(`${row.table}.${kind}`)?.isKind) return `${row.table}.${kind}`;
  return SHARED_KINDS.has(kind) ? `meta.v1.${kind}` : undefined;
}

/** Names of all types of a table. */
export function listTypeNames(row: TypeTable): readonly string[] {
  return [...blocksOf(row).keys()].map((own) => `${row.table}.${own}`);
}
