import {
  closeSync,
  fchownSync,
  constants as fs,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { CAPABILITIES, capabilityMask } from './capabilities.ts';
import type { StoredFilter } from './launch-bundle.ts';
import type { Libc } from './libc.ts';
import type { OciProcess } from './oci-spec.ts';

/** fcntl(2) commands. */
const F_SETFD = 2;
const F_GETFL = 3;
const F_SETFL = 4;

/** Resource numbers of setrlimit(2). */
const RLIMITS: Readonly<Record<string, number>> = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
};

const PR = { SET_KEEPCAPS: 8, CAPBSET_DROP: 24, SET_NO_NEW_PRIVS: 38, CAP_AMBIENT: 47 } as const;
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Sets resource limits and the OOM score; what this machine forbids is returned as warnings. */
export function applyLimits(libc: Libc, process: OciProcess): readonly string[] {
  const warnings: string[] = [];
  for (const { type, soft, hard } of process.rlimits ?? []) {
    const number = RLIMITS[type];
    if (number === undefined) throw new Error(`rlimit "${type}": unknown type`);
    tryPrivileged(warnings, () => libc.setrlimit(number, limit(soft), limit(hard), `rlimit "${type}"`));
  }
  if (process.oomScoreAdj !== undefined) {
    tryPrivileged(warnings, () => writeFileSync('/proc/self/oom_score_adj', String(process.oomScoreAdj)));
  }
  return warnings;
}

/** Opens /dev/null as standard input where none is wanted, and lets the user own the streams. */
export function prepareStreams(libc: Libc, hasStdin: boolean, uid: number): void {
  if (!hasStdin) {
    const fd = openSync('/dev/null', fs.O_RDONLY);
    libc.dup2(fd, 0);
    closeSync(fd);
  }
  for (const fd of [0, 1, 2]) {
    libc.fcntl(fd, F_SETFD, 0);
    // libuv may have made the stream non-blocking, which few programs expect: a full pipe would be an error.
    libc.fcntl(fd, F_SETFL, libc.fcntl(fd, F_GETFL, 0) & ~fs.O_NONBLOCK);
    // A non-root process reopens /dev/stdout by path, which asks for permission on the pipe.
    if (uid !== 0 && (fd !== 0 || hasStdin)) fchownSync(fd, uid, -1 >>> 0);
  }
}

/** Sets bounding, ambient and other capability sets, groups and user, no_new_privs, in the order they allow. */
export function applyPrivileges(libc: Libc, process: OciProcess, filter?: StoredFilter): void {
  // Without no_new_privs a filter needs CAP_SYS_ADMIN, which is about to go.
  if (filter !== undefined && !process.noNewPrivileges) installFilter(libc, filter);
  const user = process.user ?? { uid: 0, gid: 0 };
  const capabilities = process.capabilities ?? {};
  const bounding = capabilityMask(capabilities.bounding ?? []);
  dropBounding(libc, bounding);
  libc.setgroups(user.additionalGids ?? []);
  libc.setgid(user.gid);
  libc.prctl(PR.SET_KEEPCAPS, 1, 0, 'keep capabilities');
  libc.setuid(user.uid);
  libc.prctl(PR.SET_KEEPCAPS, 0, 0, 'keep capabilities');
  const data = Buffer.alloc(24);
  const sets = [capabilities.effective, capabilities.permitted, capabilities.inheritable];
  for (const [index, names] of sets.entries()) {
    const mask = capabilityMask(names ?? []);
    data.writeUInt32LE(Number(mask & 0xffffffffn), index * 4);
    data.writeUInt32LE(Number(mask >> 32n), 12 + index * 4);
  }
  libc.capset(data);
  for (const name of capabilities.ambient ?? []) {
    const bit = (CAPABILITIES as readonly string[]).indexOf(name);
    if (bit >= 0) libc.prctl(PR.CAP_AMBIENT, 2, bit, `raise ambient capability "${name}"`);
  }
  if (!process.noNewPrivileges) return;
  libc.prctl(PR.SET_NO_NEW_PRIVS, 1, 0, 'set no_new_privs');
  if (filter !== undefined) installFilter(libc, filter);
}

function installFilter(libc: Libc, { flags, program }: StoredFilter): void {
  libc.seccomp(flags, Buffer.from(program, 'base64'));
}

/**
 * The program's path, looked up in PATH of its environment, relative to the working directory.
 * @throws Error in the words that Kubernetes users know from runc.
 */
export function findProgram(args: readonly string[], env: readonly string[]): string {
  const name = args[0] ?? '';
  if (name.includes('/')) {
    const failure = checkProgram(name);
    if (failure === undefined) return name;
    throw new Error(
      failure === 'ENOENT'
        ? `exec: "${name}": stat ${name}: no such file or directory`
        : `exec: "${name}": ${failure === 'EISDIR' ? 'is a directory' : 'permission denied'}`,
    );
  }
  const path = env.find((entry) => entry.startsWith('PATH='))?.slice(5) ?? DEFAULT_PATH;
  let isDenied = false;
  for (const directory of path.split(':')) {
    const candidate = `${directory || '.'}/${name}`;
    const failure = checkProgram(candidate);
    if (failure === undefined) return candidate;
    isDenied ||= failure === 'EACCES';
  }
  const reason = isDenied ? 'permission denied' : 'executable file not found in $PATH';
  throw new Error(`exec: "${name}": ${reason}`);
}

/** The environment with HOME added from /etc/passwd where the spec does not set it. */
export function completeEnv({ env = [], user }: OciProcess): readonly string[] {
  if (env.some((entry) => entry.startsWith('HOME='))) return env;
  return [...env, `HOME=${findHome(user?.uid ?? 0)}`];
}

function findHome(uid: number): string {
  try {
    for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
      const fields = line.split(':');
      if (fields[2] === String(uid) && fields[5]) return fields[5];
    }
  } catch {}
  return '/';
}

function checkProgram(path: string): string | undefined {
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) return 'EISDIR';
    return (stat.mode & 0o111) === 0 ? 'EACCES' : undefined;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === 'EACCES' ? 'EACCES' : 'ENOENT';
  }
}

function dropBounding(libc: Libc, kept: bigint): void {
  for (let bit = 0; bit < CAPABILITIES.length; bit += 1) {
    if ((kept >> BigInt(bit)) & 1n) continue;
    try {
      libc.prctl(PR.CAPBSET_DROP, bit, 0, `drop ${CAPABILITIES[bit]}`);
    } catch (error) {
      // An older kernel does not know the newest capabilities.
      if ((error as { code?: string }).code !== 'EINVAL') throw error;
    }
  }
}

function limit(value: number): bigint {
  return value < 0 || value >= Number.MAX_SAFE_INTEGER ? 0xffffffffffffffffn : BigInt(value);
}

function tryPrivileged(warnings: string[], action: () => void): void {
  try {
    action();
  } catch (error) {
    const code = (error as { code?: string }).code;
    if (code !== 'EPERM' && code !== 'EACCES') throw error;
    warnings.push((error as Error).message);
  }
}
