import type { IdMappings } from '../container/id-mappings.ts';
import type { NamespaceOption } from './messages/linux.ts';

type IdRange = NonNullable<NamespaceOption['usernsOptions']>['uids'][number];

/** The mappings of a pod's user namespace in the OCI runtime-spec's form; undefined with the node's. */
export function readUserNamespace(options: NamespaceOption | undefined): IdMappings | undefined {
  const { mode, uids = [], gids = [] } = options?.usernsOptions ?? {};
  if (mode !== 'POD' || uids.length + gids.length === 0) return undefined;
  return { uidMappings: buildMappings(uids), gidMappings: buildMappings(gids) };
}

/** CRI's ranges as the OCI runtime-spec has them. */
export function buildMappings(ranges: readonly IdRange[]): IdMappings['uidMappings'] {
  return ranges.map(({ containerId, hostId, length }) => ({
    containerID: containerId,
    hostID: hostId,
    size: length,
  }));
}

export function areEqualMappings(a: IdMappings | undefined, b: IdMappings | undefined): boolean {
  return (
    JSON.stringify([a?.uidMappings, a?.gidMappings]) === JSON.stringify([b?.uidMappings, b?.gidMappings])
  );
}
