import { DEFAULT_CAPABILITIES } from '../container/defaults.ts';
import type { OciProcess } from '../container/oci-spec.ts';
import type { Capability } from './messages/linux.ts';

type OciCapabilities = NonNullable<OciProcess['capabilities']>;

/** The capability sets of a container; `all` are those that the runtime has itself, for "ALL". */
export function buildCapabilities(
  wish: Capability | undefined,
  isPrivileged: boolean,
  all: readonly string[],
): OciCapabilities {
  const ambient = (wish?.addAmbientCapabilities ?? []).flatMap((name) => expand(name, all));
  const added = [...(wish?.addCapabilities ?? []).flatMap((name) => expand(name, all)), ...ambient];
  const dropped = new Set((wish?.dropCapabilities ?? []).flatMap((name) => expand(name, all)));
  const isDropAll = (wish?.dropCapabilities ?? []).some((name) => name.toUpperCase() === 'ALL');
  const base = isPrivileged ? all : DEFAULT_CAPABILITIES.filter((name) => !dropped.has(name));
  const kept = isDropAll || isPrivileged ? added : added.filter((name) => !dropped.has(name));
  const set = [...new Set([...(isDropAll && !isPrivileged ? [] : base), ...kept])];
  return {
    bounding: set,
    effective: set,
    permitted: set,
    ...(ambient.length > 0 && { inheritable: ambient, ambient }),
  };
}

function expand(name: string, all: readonly string[]): readonly string[] {
  const upper = name.toUpperCase();
  if (upper === 'ALL') return all;
  return [upper.startsWith('CAP_') ? upper : `CAP_${upper}`];
}
