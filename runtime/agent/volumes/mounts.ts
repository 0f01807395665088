import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { TkadmError } from '../../base/errors.ts';

const run = promisify(execFile);

/** Mounts a tmpfs. @throws AGENT_VOLUME */
export async function mountTmpfs(path: string, options: readonly string[]): Promise<void> {
  const flags = options.length > 0 ? ['-o', options.join(',')] : [];
  await call('mount', ['-t', 'tmpfs', ...flags, 'tmpfs', path]);
}

/** Unmounts lazily. @throws AGENT_VOLUME */
export async function unmount(path: string): Promise<void> {
  await call('umount', ['-l', path]);
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

async function call(command: string, args: readonly string[]): Promise<void> {
  try {
    await run(command, [...args]);
  } catch (error) {
    const state = (error as { stderr?: string }).stderr?.trim() || (error as Error).message;
    throw new TkadmError('AGENT_VOLUME', `Cannot ${command} "${args.at(-1)}": ${state}`, { cause: error });
  }
}
