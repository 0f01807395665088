import { readFileSync } from 'node:fs';
import { TkadmError } from '../base/errors.ts';
import { sleep } from '../base/time.ts';
import type { CgroupHost } from './cgroup/cgroup-host.ts';

/** A process that a disk or a frozen cgroup holds gets SIGKILL only when that lets it go. */
const KILL_TIMEOUT_MS = 30_000;

export interface KilledContainer {
  readonly state: { readonly id: string; readonly pid: number };
  readonly exited: Promise<void>;
}

export interface KillWait {
  readonly host: CgroupHost;
  readonly timeoutMs?: number | undefined;
}

/** False when the promise is still open after that time. */
export async function endsWithin(promise: Promise<void>, timeoutMs: number): Promise<boolean> {
  const abort = new AbortController();
  const isLate = sleep(timeoutMs, abort.signal).then(
    () => true,
    () => false,
  );
  try {
    return !(await Promise.race([promise, isLate]));
  } finally {
    abort.abort();
  }
}

/**
 * Waits for the end of a container whose first process got SIGKILL.
 * @throws CONTAINER_STUCK with the state of the process when it does not come
 */
export async function waitForKilled(
  { state: { id, pid }, exited }: KilledContainer,
  { host, timeoutMs = KILL_TIMEOUT_MS }: KillWait,
): Promise<void> {
  if (await endsWithin(exited, timeoutMs)) return;
  const frozen = findFrozenCgroup(pid, host);
  const [found, hint] =
    frozen === undefined
      ? [readState(pid), `cat /proc/${pid}/stack`]
      : [`frozen by the cgroup "${frozen.directory}"`, frozen.thaw];
  throw new TkadmError(
    'CONTAINER_STUCK',
    `Cannot end container "${id}": its process ${pid} got SIGKILL ${timeoutMs / 1000} s ago and is still there, ${found}`,
    { hint },
  );
}

/** "state D (disk sleep)", proc_pid_status(5). */
function readState(pid: number): string {
  return `state ${/^State:\s+(.*)$/m.exec(readText(`/proc/${pid}/status`))?.[1] ?? 'unknown'}`;
}

/** The process's cgroup when it is frozen, by itself or from above; kernel's cgroup-v1/freezer-subsystem, cgroup-v2. */
function findFrozenCgroup(pid: number, host: CgroupHost) {
  const groups = readText(`/proc/${pid}/cgroup`);
  if (host.version === 2) {
    const directory = `${host.mountPoint}${/^0::(.*)$/m.exec(groups)?.[1] ?? ''}`;
    if (!/^frozen 1$/m.test(readText(`${directory}/cgroup.events`))) return undefined;
    return { directory, thaw: `echo 0 > ${directory}/cgroup.freeze` };
  }
  const mount = host.hierarchies.find(({ controllers }) => controllers.includes('freezer'))?.mountPoint;
  const directory = `${mount}${/^\d+:(?:[^:]*,)?freezer(?:,[^:]*)?:(.*)$/m.exec(groups)?.[1] ?? ''}`;
  if (!/^(FROZEN|FREEZING)/.test(readText(`${directory}/freezer.state`))) return undefined;
  return { directory, thaw: `echo THAWED > ${directory}/freezer.state` };
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
