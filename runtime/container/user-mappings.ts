import { readFileSync } from 'node:fs';
import { TkadmError } from '../base/errors.ts';
import { hostId, parseIdMap } from './id-mappings.ts';
import type { OciSpec } from './oci-spec.ts';

/** How the user namespace of a process is named, whose maps are found beside. */
const PROC_PATH = /^(\/proc\/(?:\d+|self))\/ns\/user$/;

export function hasUserNamespace({ linux }: OciSpec): boolean {
  return (linux?.namespaces ?? []).some(({ type }) => type === 'user');
}

/**
 * The spec with the mappings of the user namespace that it joins, unless it has them.
 * @throws UNSUPPORTED where they cannot be known
 */
export function fillMappings(spec: OciSpec, id: string): OciSpec {
  const { linux } = spec;
  const path = linux?.namespaces?.find(({ type }) => type === 'user')?.path;
  if (!path || (linux?.uidMappings?.length && linux.gidMappings?.length)) return spec;
  const directory = PROC_PATH.exec(path)?.[1];
  if (directory === undefined) {
    throw new TkadmError(
      'UNSUPPORTED',
      `Cannot create container "${id}": "linux.namespaces" has a user namespace at "${path}", whose mappings are not known`,
      { hint: 'Give them in "linux.uidMappings" and "linux.gidMappings"' },
    );
  }
  const read = (file: string) => parseIdMap(readFileSync(`${directory}/${file}`, 'utf8'));
  return { ...spec, linux: { ...linux, uidMappings: read('uid_map'), gidMappings: read('gid_map') } };
}

/**
 * Who a user of the container is outside.
 * @throws UNSUPPORTED for one who is not mapped
 */
export function hostUid(spec: OciSpec, uid: number): number {
  if (!hasUserNamespace(spec)) return uid;
  const mapped = hostId(spec.linux?.uidMappings ?? [], uid);
  if (mapped !== undefined) return mapped;
  throw new TkadmError('UNSUPPORTED', `Cannot be user ${uid}: "linux.uidMappings" has no such container id`);
}
