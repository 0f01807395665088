import { constants } from 'node:fs';
import { chmod, type FileHandle, mkdir, open, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { isSystemError, TkadmError } from '../../base/errors.ts';
import { bindMount, closeDescriptor, listMounts, openBeneath, unmount } from './mounts.ts';

/** open(2): a place, not its content. */
const O_PATH = 0o10000000;

export interface SubPathMount {
  /** The volume's directory. */
  readonly root: string;
  readonly subPath: string;
  /** A path of the agent's own, which no container has. */
  readonly target: string;
}

/**
 * Mounts what is at `subPath` in a volume at `target`. Containers that have the volume can exchange what is in it for
 * links at any time (CVE-2017-1002101, CVE-2021-25741): it is opened by the kernel without a way out of the volume,
 * and mounted by its descriptor. A directory is made, with the volume's mode, when nothing is there.
 * @throws AGENT_CONTAINER_CONFIG when it leads out of the volume, AGENT_VOLUME when it cannot be mounted.
 */
export async function mountSubPath({ root, subPath, target }: SubPathMount): Promise<void> {
  const parts = subPath.split('/').filter((segment) => segment !== '' && segment !== '.');
  if (subPath.startsWith('/') || parts.includes('..')) {
    throw invalid(subPath, 'it must be relative and without ".."');
  }
  for (const path of await listMounts(target)) await unmount(path);
  const volume = await open(root, O_PATH | constants.O_DIRECTORY);
  let found: number | undefined;
  try {
    found = await openParts(volume, parts);
    const source = `/proc/self/fd/${found ?? volume.fd}`;
    await makeTarget(target, (await stat(source)).isDirectory());
    bindMount(source, target);
  } catch (error) {
    if (isSystemError(error, 'EXDEV') || isSystemError(error, 'ELOOP')) {
      throw invalid(subPath, 'it leads out of the volume');
    }
    if (isSystemError(error, 'ENOTDIR')) throw invalid(subPath, 'it leads through what is no directory');
    throw error;
  } finally {
    if (found !== undefined) closeDescriptor(found);
    await volume.close();
  }
}

/** A descriptor of the last of the parts; undefined when there are none. */
async function openParts(volume: FileHandle, parts: readonly string[]): Promise<number | undefined> {
  let parent: number | undefined;
  for (const index of parts.keys()) {
    const path = parts.slice(0, index + 1);
    try {
      const found = openBeneath(volume.fd, path.join('/'), O_PATH);
      const next = found ?? (await makeDirectory(volume, parent ?? volume.fd, path));
      if (parent !== undefined) closeDescriptor(parent);
      parent = next;
    } catch (error) {
      if (parent !== undefined) closeDescriptor(parent);
      throw error;
    }
  }
  return parent;
}

/** Makes the last part of a path in its open parent, and opens it. */
async function makeDirectory(volume: FileHandle, parent: number, path: readonly string[]): Promise<number> {
  const mode = (await volume.stat()).mode & 0o7777;
  await mkdir(`/proc/self/fd/${parent}/${path.at(-1)}`, { mode }).catch((error: unknown) => {
    if (!isSystemError(error, 'EEXIST')) throw error;
  });
  const made = openBeneath(volume.fd, path.join('/'), O_PATH | constants.O_NOFOLLOW | constants.O_DIRECTORY);
  if (made === undefined) throw invalid(path.join('/'), 'somebody has taken it away');
  // The mask of the process may have taken some of the mode away.
  const place = `/proc/self/fd/${made}`;
  if ((await stat(place)).uid === 0) await chmod(place, mode);
  return made;
}

async function makeTarget(target: string, isDirectory: boolean): Promise<void> {
  // It may have been of the other kind.
  await rmdir(target).catch(() => unlink(target).catch(() => {}));
  await mkdir(isDirectory ? target : dirname(target), { recursive: true, mode: 0o750 });
  if (!isDirectory) await writeFile(target, '', { flag: 'a', mode: 0o640 });
}

function invalid(subPath: string, state: string): TkadmError {
  return new TkadmError('AGENT_CONTAINER_CONFIG', `Cannot use subPath "${subPath}": ${state}`);
}
