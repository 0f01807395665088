import { CAPABILITIES } from './capabilities.ts';
import { DEFAULT_CAPABILITIES } from './defaults.ts';
import type { OciProcess } from './oci-spec.ts';

type OciCapabilities = NonNullable<OciProcess['capabilities']>;

/** Changes of the default set, "CAP_NET_ADMIN", "net_admin" or "ALL"; the fields of CRI's Capability. */
export interface CapabilityWish {
  readonly addCapabilities: readonly string[];
  readonly dropCapabilities: readonly string[];
  readonly addAmbientCapabilities?: readonly string[];
}

/** The capability sets of a container; `all` are those that the runtime has itself, for "ALL". */
export function buildCapabilities(
  wish: CapabilityWish | undefined,
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

/** True for "CAP_NET_ADMIN", "net_admin" and "ALL". */
export function isCapability(name: string): boolean {
  const known: readonly string[] = CAPABILITIES;
  return name.toUpperCase() === 'ALL' || expand(name, []).every((full) => known.includes(full));
}

function expand(name: string, all: readonly string[]): readonly string[] {
  const upper = name.toUpperCase();
  if (upper === 'ALL') return all;
  return [upper.startsWith('CAP_') ? upper : `CAP_${upper}`];
}
