import { AT_FDCWD, CLONE, OPEN } from '../kernel-constants.ts';
import type { OciNamespaceType } from '../oci-spec.ts';
import type { Section } from './program.ts';

const O_CLOEXEC = 0o2000000;

/** The flag of each kind; the others are not supported. */
export const CLONE_FLAGS: Readonly<Record<OciNamespaceType, number>> = {
  mount: CLONE.NEWNS,
  network: CLONE.NEWNET,
  ipc: CLONE.NEWIPC,
  uts: CLONE.NEWUTS,
  cgroup: CLONE.NEWCGROUP,
  pid: CLONE.NEWPID,
  user: 0,
  time: 0,
};

/** setns(2) to the namespace at a path. */
export function joinNamespace(section: Section, type: OciNamespaceType, path: string): void {
  const fd = section.room();
  section.step(`join ${type} namespace "${path}"`);
  section.call('openat', [AT_FDCWD, section.text(path), OPEN.RDONLY | O_CLOEXEC, 0], { into: fd });
  section.call('setns', [{ at: fd }, CLONE_FLAGS[type]]);
  section.call('close', [{ at: fd }]);
}
