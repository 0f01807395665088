import { dump } from 'js-yaml';
import type { RawDocument, RawObject } from '../config/documents.ts';
import { apiVersionOf } from '../config/kinds.ts';
import type { FleetHost } from './cluster-file.ts';

interface Argument {
  readonly name: string;
  readonly value: string;
}

/** The documents for the `init` of a host: those of the file, and what the host says for itself. */
export function formatInitDocuments(
  documents: readonly RawDocument[],
  { host, nodeIp }: { readonly host: FleetHost; readonly nodeIp: string | undefined },
): string {
  const given = documents.find(({ kind }) => kind === 'InitConfiguration')?.fields ?? {};
  const init = {
    ...given,
    nodeRegistration: buildRegistration(given, { host, nodeIp }),
    ...(nodeIp === undefined
      ? {}
      : {
          localAPIEndpoint: {
            ...(given['localAPIEndpoint'] as object | undefined),
            advertiseAddress: nodeIp,
          },
        }),
  };
  const others = documents.filter(({ kind }) => kind !== 'InitConfiguration' && kind !== 'JoinConfiguration');
  return [{ kind: 'InitConfiguration' as const, fields: init }, ...others]
    .map(({ kind, fields }) => dump({ apiVersion: apiVersionOf(kind), kind, ...fields }))
    .join('---\n');
}

/** What the `join` of a host gets besides the cluster's own facts. */
export function buildJoinFields(
  documents: readonly RawDocument[],
  { host, nodeIp }: { readonly host: FleetHost; readonly nodeIp: string | undefined },
) {
  const given = documents.find(({ kind }) => kind === 'JoinConfiguration')?.fields ?? {};
  return { document: given, registration: buildRegistration(given, { host, nodeIp }) };
}

function buildRegistration(
  given: RawObject,
  { host, nodeIp }: { readonly host: FleetHost; readonly nodeIp: string | undefined },
) {
  const registration = (given['nodeRegistration'] ?? {}) as RawObject;
  const args = (registration['kubeletExtraArgs'] ?? []) as readonly Argument[];
  return {
    ...registration,
    ...(host.nodeName === undefined ? {} : { name: host.nodeName }),
    ...(host.taints === undefined ? {} : { taints: host.taints }),
    ...(nodeIp === undefined ? {} : { kubeletExtraArgs: [...args, { name: 'node-ip', value: nodeIp }] }),
  };
}
