import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { execa } from 'execa';

const SOURCE = join(import.meta.dirname, '../../../bootstrap/cli.ts');

/** The command line of the sources, in one file that starts as fast as the built one; made once for a test file. */
export const CLI = await bundle();

export interface CommandResult {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line. */
export async function runTkadm(...args: readonly string[]): Promise<CommandResult> {
  return run([process.execPath, CLI, ...args]);
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
  // tap follows every Node.js process and lets it write into its own directory, which another user may not.
  const forget = 'unset NODE_OPTIONS; exec "$@"';
  const child = execa(
    'sh',
    ['-c', uid === undefined ? 'exec "$@"' : forget, 'sh', process.execPath, CLI, ...args],
    {
      reject: false,
      stripFinalNewline: false,
      extendEnv: false,
      env: { PATH: process.env['PATH'] ?? '', ...env },
      input,
      timeout: 120_000,
      ...(uid === undefined ? {} : { uid, gid: uid }),
    },
  );
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
 * Runs the command line on a machine whose /etc and /var/lib are overlays over this one's, in a mount namespace that
 * ends with the command; what is written stays in `directory`/upper and `directory`/state.
 */
export async function runTkadmWithOwnEtc(
  directory: string,
  ...args: readonly string[]
): Promise<CommandResult> {
  return runNodeWithOwnEtc(directory, CLI, ...args);
}

/** As `runTkadmWithOwnEtc`, with Node's own arguments before those of the command line: `--import KILL-AT CLI ...`. */
export async function runNodeWithOwnEtc(
  directory: string,
  ...args: readonly string[]
): Promise<CommandResult> {
  const script = [
    'mkdir -p "$0/upper" "$0/work" "$0/state" "$0/state-work"',
    'mount -t overlay overlay -o "lowerdir=/etc,upperdir=$0/upper,workdir=$0/work" /etc',
    'mount -t overlay overlay -o "lowerdir=/var/lib,upperdir=$0/state,workdir=$0/state-work" /var/lib',
    'exec "$@"',
  ].join(' && ');
  return run(['unshare', '--mount', 'sh', '-c', script, directory, process.execPath, ...args]);
}

async function run([file = '', ...args]: readonly string[]): Promise<CommandResult> {
  return toResult(await execa(file, args, { reject: false, stdin: 'ignore', timeout: 60_000 }));
}

function toResult({ exitCode, stdout, stderr }: Partial<CommandResult>): CommandResult {
  return { exitCode, stdout: String(stdout), stderr: String(stderr) };
}

async function bundle(): Promise<string> {
  const directory = mkdtempSync('/var/tmp/tkadm-cli-');
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  // Readable for the user that a command is run as.
  chmodSync(directory, 0o755);
  const require =
    "import{createRequire as r}from'node:module';const require=r(import.meta.url),__dirname=import.meta.dirname,__filename=import.meta.filename;";
  await build({
    entryPoints: { tkadm: SOURCE },
    outdir: directory,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    platform: 'node',
    format: 'esm',
    define: { TKADM_VERSION: '"0.0.0"' },
    external: ['koffi', 'lmdb', 'cpu-features', '*.node'],
    banner: { js: require },
    logLevel: 'error',
  });
  return join(directory, 'tkadm.mjs');
}
