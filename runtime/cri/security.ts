import type { OciProcess } from '../container/oci-spec.ts';
import type { Capability } from './messages/linux.ts';

/** Capabilities of a container that asks for none: the set that Docker and containerd give. */
export const DEFAULT_CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
] as const;

/** Paths that a container must not read, Kubernetes' defaults for procMount "Default". */
export const MASKED_PATHS = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
] as const;

/** Paths that a container must not write. */
export const READONLY_PATHS = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
] as const;

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
