import type { Stats } from 'node:fs';
import { isSystemError } from '../base/errors.ts';
import type { Inodes } from './inodes.ts';

/** Attribute of a directory that hides everything below it (overlayfs: opaque directories). */
export const OPAQUE_ATTRIBUTE = 'trusted.overlay.opaque';

/** True for overlayfs's mark of a deleted file: a character device 0/0. */
export function isWhiteout(stats: Stats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0;
}

/** True for a directory that hides the same directory of lower layers. */
export function isOpaque(path: string, inodes: Inodes): boolean {
  return inodes.getxattr(path, OPAQUE_ATTRIBUTE) === 'y';
}

/** The result of a file system call, undefined when nothing is there. */
export async function ifThere<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (isSystemError(error, 'ENOENT') || isSystemError(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}
