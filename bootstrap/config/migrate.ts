import type { RawDocument, RawObject } from './documents.ts';
import { isMapping } from './fields.ts';

/**
 * Converts documents of kubeadm.k8s.io/v1beta3 to v1beta4: maps of arguments become lists sorted by
 * name; `apiServer.timeoutForControlPlane` and `discovery.timeout` move below `timeouts`.
 */
export function migrateDocuments(documents: readonly RawDocument[]): readonly RawDocument[] {
  const old = documents.find((row) => row.kind === 'ClusterConfiguration' && row.version === 'v1beta3');
  const healthCheck = asObject(old?.fields['apiServer'])['timeoutForControlPlane'];
  const migrated = documents.map((row) => (row.version === 'v1beta3' ? migrateDocument(row) : row));
  if (healthCheck === undefined) return migrated;
  const timeouts = { controlPlaneComponentHealthCheck: healthCheck };
  if (!migrated.some((row) => row.kind === 'InitConfiguration')) {
    return [
      ...migrated,
      { kind: 'InitConfiguration', version: 'v1beta4', isDeprecated: false, fields: { timeouts } },
    ];
  }
  return migrated.map((row) =>
    row.kind === 'InitConfiguration'
      ? { ...row, fields: { ...row.fields, timeouts: { ...timeouts, ...asObject(row.fields['timeouts']) } } }
      : row,
  );
}

function migrateDocument(row: RawDocument): RawDocument {
  const fields: Record<string, unknown> = { ...row.fields };
  for (const name of ['apiServer', 'controllerManager', 'scheduler']) {
    if (fields[name] !== undefined) fields[name] = migrateArgs(fields[name], 'extraArgs');
  }
  if (fields['apiServer']) fields['apiServer'] = omit(fields['apiServer'], 'timeoutForControlPlane');
  const etcd = asObject(fields['etcd']);
  if (etcd['local']) fields['etcd'] = { ...etcd, local: migrateArgs(etcd['local'], 'extraArgs') };
  if (fields['nodeRegistration']) {
    fields['nodeRegistration'] = migrateArgs(fields['nodeRegistration'], 'kubeletExtraArgs');
  }
  const { timeout } = asObject(fields['discovery']);
  if (timeout !== undefined) {
    fields['discovery'] = omit(fields['discovery'], 'timeout');
    fields['timeouts'] = { discovery: timeout };
  }
  return { ...row, version: 'v1beta4', fields };
}

function migrateArgs(value: unknown, key: string): unknown {
  const object = asObject(value);
  return object[key] === undefined ? value : { ...object, [key]: toArgumentList(object[key]) };
}

/** A mapping of arguments as the list of v1beta4, sorted by name; anything else as it is. */
export function toArgumentList(args: unknown): unknown {
  if (!isMapping(args)) return args;
  return Object.entries(args)
    .map(([name, text]) => ({ name, value: text }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function omit(value: unknown, key: string): RawObject {
  const { [key]: _, ...rest } = asObject(value);
  return rest;
}

function asObject(value: unknown): RawObject {
  return isMapping(value) ? value : {};
}
