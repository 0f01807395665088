import { dirname, relative } from 'node:path';
import type { RootfsSource } from '../engine.ts';
import type { OciIdMapping } from '../id-mappings.ts';
import { hostId } from '../id-mappings.ts';
import { AT_FDCWD, AT_RECURSIVE, MS } from '../kernel-constants.ts';
import { mapMountIds } from './mount-attributes.ts';
import { buildOverlayData } from './overlay-data.ts';
import type { DataRef, Section } from './program.ts';

/** open_tree(2): OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC */
const OPEN_TREE = 1 | 0o2000000;
/** move_mount(2) from a descriptor to a path: MOVE_MOUNT_F_EMPTY_PATH */
const MOVE_FROM_DESCRIPTOR = 4;
const PR_SET_SECUREBITS = 28;
/** A change of the file system's user keeps the capabilities. */
const SECBIT_NO_SETUID_FIXUP = 4;

/** The user namespace whose ids the files are to have, and who is its root outside. */
export interface RootIds {
  readonly user: DataRef;
  readonly uid: number;
  readonly gid: number;
}

/** Who is root of these mappings outside; undefined when nobody is. */
export function rootIds(
  user: DataRef,
  uids: readonly OciIdMapping[],
  gids: readonly OciIdMapping[],
): RootIds {
  return { user, uid: hostId(uids, 0) ?? 0, gid: hostId(gids, 0) ?? 0 };
}

/** Mounts a root file system, whose path or layers are the host's, at the staging directory. */
export function mountSource(section: Section, rootfs: RootfsSource, stagingDir: string, ids?: RootIds): void {
  section.step('mount the root file system');
  if (rootfs.kind === 'path')
    mountPath(section, rootfs.path, stagingDir, rootfs.isIdMapped ? ids : undefined);
  else if (rootfs.isIdMapped && ids !== undefined) mountMappedOverlay(section, rootfs, stagingDir, ids);
  else mountOverlay(section, rootfs, stagingDir);
}

function mountPath(section: Section, path: string, stagingDir: string, ids: RootIds | undefined): void {
  if (ids === undefined) {
    section.call('mount', [section.text(path), section.text(stagingDir), 0, MS.BIND | MS.REC, 0]);
  } else mountMapped(section, { source: path, target: stagingDir, ids, isRecursive: true });
}

function mountOverlay(
  section: Section,
  rootfs: RootfsSource & { kind: 'overlay' },
  stagingDir: string,
): void {
  const { base, data } = buildOverlayData(rootfs);
  const type = section.text('overlay');
  if (base !== undefined) section.call('chdir', [section.text(base)]);
  section.call('mount', [type, section.text(stagingDir), type, 0, section.text(data)]);
}

/**
 * An overlay of mapped layers, which are mounted in an empty file system below it: their files belong to the ids of the
 * container on disk, whatever ids it has outside, so containers with other ids share them. The overlay makes its work
 * directory as the user that mounts, who must be mapped for that.
 */
function mountMappedOverlay(
  section: Section,
  rootfs: RootfsSource & { kind: 'overlay' },
  stagingDir: string,
  ids: RootIds,
): void {
  const tmpfs = section.text('tmpfs');
  const writable = dirname(rootfs.upperDir);
  section.call('mount', [tmpfs, section.text(stagingDir), tmpfs, 0, section.text('mode=755')]);
  section.call('chdir', [section.text(stagingDir)]);
  for (const [index, source] of rootfs.lowerDirs.entries()) {
    const target = String(index);
    section.call('mkdirat', [AT_FDCWD, section.text(target), 0o755]);
    mountMapped(section, { source, target, ids, isRecursive: false });
  }
  section.call('mkdirat', [AT_FDCWD, section.text('w'), 0o755]);
  mountMapped(section, { source: writable, target: 'w', ids, isRecursive: false });
  const below = (path: string) => `w/${relative(writable, path)}`.replace(/[\\,]/g, '\\$&');
  const lower = rootfs.lowerDirs.map((_source, index) => String(index)).join(':');
  const data = `lowerdir=${lower},upperdir=${below(rootfs.upperDir)},workdir=${below(rootfs.workDir)}`;
  const type = section.text('overlay');
  section.step('mount the root file system, whose ids are mapped');
  section.call('prctl', [PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0]);
  section.call('setfsgid', [ids.gid]);
  section.call('setfsuid', [ids.uid]);
  section.call('mount', [type, section.text(stagingDir), type, 0, section.text(data)]);
  section.call('setfsuid', [0]);
  section.call('setfsgid', [0]);
  section.call('prctl', [PR_SET_SECUREBITS, 0, 0, 0, 0]);
}

interface MappedMount {
  readonly source: string;
  readonly target: string;
  readonly ids: RootIds;
  readonly isRecursive: boolean;
}

function mountMapped(section: Section, { source, target, ids, isRecursive }: MappedMount): void {
  const tree = section.room();
  const flags = OPEN_TREE | (isRecursive ? AT_RECURSIVE : 0);
  section.step(`map the ids of "${source}"`);
  section.call('open_tree', [AT_FDCWD, section.text(source), flags], { into: tree });
  mapMountIds(section, tree, ids.user, isRecursive);
  section.call('move_mount', [
    { at: tree },
    section.text(''),
    AT_FDCWD,
    section.text(target),
    MOVE_FROM_DESCRIPTOR,
  ]);
  section.call('close', [{ at: tree }]);
}
