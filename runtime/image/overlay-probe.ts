import { closeSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { lastErrno, openCLibrary } from '../base/c-library.ts';
import { errnoName } from '../base/errno.ts';

/** System call numbers, equal on all architectures. */
const FSOPEN = 430;
const FSCONFIG = 431;
const FSOPEN_CLOEXEC = 1;
/** fsconfig(2): FSCONFIG_SET_STRING, FSCONFIG_CMD_CREATE */
const SET_STRING = 1;
const CREATE = 6;
/** Whoever may not ask learns nothing: a sandbox that filters the calls. */
const NO_ANSWER: readonly string[] = ['EPERM', 'ENOSYS'];

/**
 * Why overlayfs cannot be used in `directory`, undefined when it can: an overlay is made there and never mounted, so
 * that nothing of it can stay. The kernel may have none, or not over this file system (another overlay, FUSE, NFS).
 */
export function findOverlayProblem(directory: string): string | undefined {
  const place = mkdtempSync(join(directory, 'overlay-'));
  try {
    const parameters = { lowerdir: 'lower', upperdir: 'upper', workdir: 'work' } as const;
    for (const name of Object.values(parameters)) mkdirSync(join(place, name));
    const failed = createOverlay(Object.entries(parameters).map(([key, name]) => [key, join(place, name)]));
    return failed === undefined || NO_ANSWER.includes(failed) ? undefined : failed;
  } finally {
    rmSync(place, { recursive: true, force: true });
  }
}

/** The errno's name of what failed. */
function createOverlay(parameters: readonly (readonly [string, string])[]): string | undefined {
  const declare = openCLibrary();
  const open = declare('syscall', 'long', ['long', 'str', 'long']);
  const configure = declare('syscall', 'long', ['long', 'long', 'long', 'str', 'str', 'long']);
  const fd = open()(FSOPEN, 'overlay', FSOPEN_CLOEXEC);
  if (fd < 0) return errnoName(lastErrno());
  try {
    for (const [key, path] of parameters) {
      if (configure()(FSCONFIG, fd, SET_STRING, key, path, 0) < 0) return errnoName(lastErrno());
    }
    return configure()(FSCONFIG, fd, CREATE, null, null, 0) < 0 ? errnoName(lastErrno()) : undefined;
  } finally {
    closeSync(fd);
  }
}
