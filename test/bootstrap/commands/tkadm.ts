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

export interface TkadmOptions {
  /** The whole environment but PATH. */
  readonly env?: Readonly<Record<string, string>>;
  /** Standard input; default: none. */
  readonly input?: string;
  readonly uid?: number;
  /** SIGINT is sent once standard output has shown this. */
  readonly interruptAt?: RegExp;
}

/** Runs the command line with an environment of its own. */
export async function runTkadmWith(
  args: readonly string[],
  { env = {}, input = '', uid, interruptAt }: TkadmOptions = {},
): Promise<CommandResult> {
  const child = execa(process.execPath, ['--import', import.meta.resolve('tsx'), CLI, ...args], {
    reject: false,
    stripFinalNewline: false,
    extendEnv: false,
    env: { PATH: process.env['PATH'] ?? '', ...env },
    input,
    timeout: 120_000,
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  let shown = '';
  let isInterrupted = false;
  child.stdout.on('data', (chunk: Buffer) => {
    shown += chunk;
    if (!isInterrupted && interruptAt?.test(shown)) isInterrupted = child.kill('SIGINT');
  });
  return toResult(await child);
}

/** Lines of JSON. */
export function parseLines<T>(text: string): readonly T[] {
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as T);
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
  return toResult(await execa(file, args, { reject: false, stdin: 'ignore', timeout: 60_000 }));
}

function toResult({ exitCode, stdout, stderr }: Partial<CommandResult>): CommandResult {
  return { exitCode, stdout: String(stdout), stderr: String(stderr) };
}
