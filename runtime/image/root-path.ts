import { lstatSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isSystemError, TkadmError } from '../base/errors.ts';

/** The kernel's limit of links in one path, path_resolution(7). */
const MAX_LINKS = 40;

/**
 * The host path of `path` inside `root` as if `root` were "/": links and ".." never lead out. The result need
 * not exist; components behind a missing one are taken as they are.
 * @throws IMAGE_PATH_INVALID when links form a loop.
 */
export function resolveInRoot(root: string, path: string): string {
  let rest = path.split('/');
  let current = '/';
  let links = 0;
  while (rest.length > 0) {
    const [component = '', ...behind] = rest;
    rest = behind;
    if (component === '' || component === '.') continue;
    if (component === '..') {
      current = dirname(current);
      continue;
    }
    const next = join(current, component);
    const target = readLink(join(root, next));
    if (target === undefined) {
      current = next;
      continue;
    }
    links += 1;
    if (links > MAX_LINKS) {
      throw new TkadmError('IMAGE_PATH_INVALID', `Cannot resolve "${path}" in "${root}": too many links`);
    }
    if (target.startsWith('/')) current = '/';
    rest = [...target.split('/'), ...rest];
  }
  return join(root, current);
}

/** undefined for anything but a link. */
function readLink(path: string): string | undefined {
  try {
    return lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ? readlinkSync(path) : undefined;
  } catch (error) {
    if (isSystemError(error, 'ENOENT') || isSystemError(error, 'ENOTDIR')) return undefined;
    throw error;
  }
}
