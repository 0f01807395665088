import { readFile } from 'node:fs/promises';
import { TkadmError } from '../../base/errors.ts';
import { MNT_DETACH, MS } from '../../container/kernel-constants.ts';
import { loadLibc } from '../../container/libc.ts';
import { parseMountOptions } from '../../container/mount-options.ts';

const O_CLOEXEC = 0o2000000;

/** Loaded at the first mount: by system call, since starting mount(8) for each pod holds the whole agent up. */
const libc = once(loadLibc);

/** Mounts a tmpfs. @throws AGENT_VOLUME */
export async function mountTmpfs(path: string, options: readonly string[]): Promise<void> {
  const { flags, data } = parseMountOptions(options);
  attempt('mount', path, () => libc().mount('tmpfs', path, 'tmpfs', flags, data || null));
}

/** Mounts a file or directory, with what is mounted in it, in a second place. @throws AGENT_VOLUME */
export function bindMount(source: string, target: string): void {
  attempt('mount', target, () => libc().mount(source, target, null, MS.BIND | MS.REC, null));
}

/** A descriptor of a path below an open directory, see `openBeneath` of the C library. @throws LibcError */
export function openBeneath(root: number, path: string, flags: number): number | undefined {
  return libc().openBeneath(root, path, flags | O_CLOEXEC);
}

export function closeDescriptor(fd: number): void {
  libc().close(fd);
}

/** Unmounts lazily. @throws AGENT_VOLUME */
export async function unmount(path: string): Promise<void> {
  attempt('umount', path, () => libc().umount(path, MNT_DETACH));
}

/** Mount points at or below a directory, deepest first (/proc/self/mountinfo, proc_pid_mountinfo(5)). */
export async function listMounts(directory: string): Promise<string[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  return text
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_all, code) =>
        String.fromCharCode(Number.parseInt(code, 8)),
      ),
    )
    .filter((path) => path === directory || path.startsWith(`${directory}/`))
    .sort((a, b) => b.length - a.length);
}

function attempt(step: string, path: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    const state = (error as Error).message;
    throw new TkadmError('AGENT_VOLUME', `Cannot ${step} "${path}": ${state}`, { cause: error });
  }
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
