import { closeSync, constants as fs, openSync, readFileSync } from 'node:fs';
import type { Libc } from './libc.ts';

const O_CLOEXEC = 0o2000000;
/** What a FIFO takes at once, less the name. */
const MAX_HOME_LENGTH = 4000;

/** ["HOME=/root"] from the container's /etc/passwd where an environment has no HOME, "/" for unknown users. */
export function missingHome(
  libc: Libc,
  env: readonly string[] | undefined,
  { pid, uid }: { readonly pid: number; readonly uid: number },
): readonly string[] {
  if (env?.some((entry) => entry.startsWith('HOME='))) return [];
  const home = findHome(readPasswd(libc, pid), uid);
  return [`HOME=${home !== undefined && home.length < MAX_HOME_LENGTH ? home : '/'}`];
}

function findHome(passwd: string, uid: number): string | undefined {
  for (const line of passwd.split('\n')) {
    const fields = line.split(':');
    if (fields[2] === String(uid) && fields[5]) return fields[5];
  }
  return undefined;
}

/** The file as the container sees it: links lead nowhere but inside. */
function readPasswd(libc: Libc, pid: number): string {
  let root: number | undefined;
  let file: number | undefined;
  try {
    root = openSync(`/proc/${pid}/root`, fs.O_RDONLY | fs.O_DIRECTORY);
    file = libc.openInRoot(root, '/etc/passwd', fs.O_RDONLY | fs.O_NONBLOCK | O_CLOEXEC);
    return file === undefined ? '' : readFileSync(file, 'utf8');
  } catch {
    return '';
  } finally {
    for (const fd of [root, file]) if (fd !== undefined) closeSync(fd);
  }
}
