import { join } from 'node:path';
import { AT_FDCWD, MS } from '../kernel-constants.ts';
import type { CgroupMounts } from '../launch-bundle.ts';
import type { OciMount, OciSpec } from '../oci-spec.ts';
import { changeMountFlags, changePropagation } from './mount-attributes.ts';
import type { Section } from './program.ts';
import { mountAt, moveMount, type RootPlaces } from './root-places.ts';

/** open_tree(2): OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC */
const OPEN_TREE = 1 | 0o2000000;
const FLAGS = MS.NOSUID | MS.NODEV | MS.NOEXEC;

export interface CgroupMountContext {
  readonly section: Section;
  readonly places: RootPlaces;
  readonly spec: OciSpec;
  readonly cgroupMounts: CgroupMounts;
}

/** A mount of type "cgroup": of cgroup v1 a directory of hierarchies, of v2 the one that there is. */
export function mountCgroups(context: CgroupMountContext, { destination, options = [] }: OciMount): void {
  const { section, places, cgroupMounts } = context;
  const readonly = options.includes('ro') ? MS.RDONLY : 0;
  const flags = FLAGS | MS.RELATIME | readonly;
  if (cgroupMounts.version === 2) {
    const { mountPoint } = cgroupMounts;
    mountHierarchy(context, { destination, type: 'cgroup2', mountPoint, flags, data: '' });
    return;
  }
  mountAt(section, places, { destination, source: 'tmpfs', type: 'tmpfs', flags: FLAGS, data: 'mode=755' });
  for (const { name, options: data, mountPoint } of cgroupMounts.hierarchies) {
    mountHierarchy(context, {
      destination: `${destination}/${name}`,
      type: 'cgroup',
      mountPoint,
      flags,
      data,
    });
  }
  places.openTarget(destination, true);
  for (const { name } of cgroupMounts.hierarchies) {
    if (!name.includes(',')) continue;
    for (const part of name.split(',')) {
      section.call('symlinkat', [section.text(name), { at: places.target }, section.text(part)]);
    }
  }
  if (readonly !== 0) changeMountFlags(section, places.target, { set: MS.RDONLY, clear: 0 });
  places.close(places.target);
}

interface Hierarchy {
  readonly destination: string;
  readonly type: 'cgroup' | 'cgroup2';
  readonly mountPoint: string;
  readonly flags: number;
  readonly data: string;
}

/** The container's own part of a hierarchy: what its cgroup namespace shows, or else its directory alone. */
function mountHierarchy({ section, places, spec }: CgroupMountContext, hierarchy: Hierarchy): void {
  const { destination, type, mountPoint, flags, data } = hierarchy;
  const { namespaces = [], cgroupsPath } = spec.linux ?? {};
  if (cgroupsPath === undefined || namespaces.some((namespace) => namespace.type === 'cgroup')) {
    mountAt(section, places, { destination, source: type, type, flags, data });
    return;
  }
  const tree = section.room();
  section.call('open_tree', [AT_FDCWD, section.text(join(mountPoint, cgroupsPath)), OPEN_TREE], {
    into: tree,
  });
  changeMountFlags(section, tree, { set: flags, clear: 0 });
  changePropagation(section, tree, MS.PRIVATE);
  places.openTarget(destination, true);
  moveMount(section, tree, places);
}
