import { AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, MS } from '../kernel-constants.ts';
import type { OciSpec } from '../oci-spec.ts';
import { changeMountFlags } from './mount-attributes.ts';
import type { Section } from './program.ts';
import { moveMount, type RootPlaces } from './root-places.ts';

/** open_tree(2): OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC */
const OPEN_TREE = 1 | 0o2000000;

/** Masked paths, read-only paths and the read-only root. */
export function protectPaths(section: Section, places: RootPlaces, { linux, root }: OciSpec): void {
  for (const path of linux?.readonlyPaths ?? []) makeReadonly(section, places, path);
  for (const path of linux?.maskedPaths ?? []) mask(section, places, path);
  if (!root?.readonly) return;
  section.step('read-only root file system');
  changeMountFlags(section, places.root, { set: MS.RDONLY, clear: 0 });
}

function makeReadonly(section: Section, places: RootPlaces, path: string): void {
  const past = section.label();
  const tree = section.room();
  section.step(`readonly path "${path}"`);
  places.openExisting(path, past);
  const flags = OPEN_TREE | AT_EMPTY_PATH | AT_RECURSIVE;
  section.call('open_tree', [{ at: places.target }, section.text(''), flags], { into: tree });
  changeMountFlags(section, tree, { set: MS.RDONLY, clear: 0 }, true);
  moveMount(section, tree, places);
  section.place(past);
}

/**
 * An empty file system over a directory, the host's /dev/null over a file. (A mount that is made and not used costs
 * the kernel milliseconds when it goes: what the path is must be known first.)
 */
function mask(section: Section, places: RootPlaces, path: string): void {
  const [past, isFile] = [section.label(), section.label()];
  section.step(`masked path "${path}"`);
  places.openExisting(path, past, isFile);
  section.call('fchdir', [{ at: places.target }]);
  const tmpfs = section.text('tmpfs');
  section.call('mount', [tmpfs, section.text('.'), tmpfs, MS.RDONLY, section.text('size=0k,nr_inodes=2')]);
  places.close(places.target);
  section.place(past);
  section.later(() => {
    const tree = section.room();
    section.place(isFile);
    places.openExisting(path, past);
    section.call('open_tree', [AT_FDCWD, section.text('/dev/null'), OPEN_TREE], { into: tree });
    moveMount(section, tree, places);
    section.jump(past);
  });
}
