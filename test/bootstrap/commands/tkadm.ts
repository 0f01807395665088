import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { execa } from 'execa';

const SOURCE = join(import.meta.dirname, '../../../bootstrap/cli.ts');

/** The command line of the sources, in one file that starts as fast as the built one; made once for a test file. */
const CLI = await bundle();

export interface CommandResult {
  readonly exitCode: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line. */
export async function runTkadm(...args: readonly string[]): Promise<CommandResult> {
  return run([process.execPath, CLI, ...args]);
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
  return run(['unshare', '--mount', 'sh', '-c', script, directory, process.execPath, CLI, ...args]);
}

async function run([file = '', ...args]: readonly string[]): Promise<CommandResult> {
  const result = await execa(file, args, { reject: false, stdin: 'ignore', timeout: 60_000 });
  return { exitCode: result.exitCode, stdout: String(result.stdout), stderr: String(result.stderr) };
}

async function bundle(): Promise<string> {
  const directory = mkdtempSync('/var/tmp/tkadm-cli-');
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const require = "import{createRequire as r}from'node:module';const require=r(import.meta.url);";
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
