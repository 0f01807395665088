import { join } from 'node:path';
import { execa } from 'execa';

const CLI = join(import.meta.dirname, '../../../bootstrap/cli.ts');

export interface CommandResult {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line from its sources. */
export async function runTkadm(...args: readonly string[]): Promise<CommandResult> {
  return run([process.execPath, '--import', import.meta.resolve('tsx'), CLI, ...args]);
}

/**
 * Runs the command line on a machine whose /etc is an overlay over this one's, in a mount namespace that ends with
 * the command; what is written stays in `directory`/upper.
 */
export async function runTkadmWithOwnEtc(
  directory: string,
  ...args: readonly string[]
): Promise<CommandResult> {
  const script = [
    'mkdir -p "$0/upper" "$0/work"',
    'mount -t overlay overlay -o "lowerdir=/etc,upperdir=$0/upper,workdir=$0/work" /etc',
    'exec "$@"',
  ].join(' && ');
  const command = [process.execPath, '--import', import.meta.resolve('tsx'), CLI, ...args];
  return run(['unshare', '--mount', 'sh', '-c', script, directory, ...command]);
}

async function run([file = '', ...args]: readonly string[]): Promise<CommandResult> {
  const result = await execa(file, args, { reject: false, stdin: 'ignore', timeout: 60_000 });
  return { exitCode: result.exitCode, stdout: String(result.stdout), stderr: String(result.stderr) };
}
