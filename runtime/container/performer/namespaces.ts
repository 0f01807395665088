import { AT_FDCWD, CLONE, OPEN } from '../kernel-constants.ts';
import type { OciNamespaceType, OciSpec } from '../oci-spec.ts';
import type { DataRef, Section } from './program.ts';

const O_CLOEXEC = 0o2000000;

/** The flag of each kind. */
export const CLONE_FLAGS: Readonly<Record<OciNamespaceType, number>> = {
  mount: CLONE.NEWNS,
  network: CLONE.NEWNET,
  ipc: CLONE.NEWIPC,
  uts: CLONE.NEWUTS,
  cgroup: CLONE.NEWCGROUP,
  pid: CLONE.NEWPID,
  user: CLONE.NEWUSER,
  time: CLONE.NEWTIME,
};

/** A process of its own makes these, whose child is the container: pid namespaces belong to the maker's user namespace. */
export function needsMaker({ linux }: OciSpec): boolean {
  return (linux?.namespaces ?? []).some(({ type, path }) => type === 'user' || (type === 'time' && !path));
}

/** The container has a mount namespace that nobody else is in; else its file systems belong to none. */
export function hasOwnMounts({ linux }: OciSpec): boolean {
  return (linux?.namespaces ?? []).some(({ type, path }) => type === 'mount' && !path);
}

/** A descriptor of the mount namespace that the container goes to at last: that of a path, or the runtime's own. */
export function openMountNamespace(section: Section, { linux }: OciSpec): DataRef {
  const path = linux?.namespaces?.find(({ type }) => type === 'mount')?.path || '/proc/self/ns/mnt';
  const fd = section.room();
  section.step(`open mount namespace "${path}"`);
  section.call('openat', [AT_FDCWD, section.text(path), OPEN.RDONLY | O_CLOEXEC, 0], { into: fd });
  return fd;
}

/** setns(2) to the namespace at a path. */
export function joinNamespace(section: Section, type: OciNamespaceType, path: string): void {
  const fd = section.room();
  section.step(`join ${type} namespace "${path}"`);
  section.call('openat', [AT_FDCWD, section.text(path), OPEN.RDONLY | O_CLOEXEC, 0], { into: fd });
  section.call('setns', [{ at: fd }, CLONE_FLAGS[type]]);
  section.call('close', [{ at: fd }]);
}
