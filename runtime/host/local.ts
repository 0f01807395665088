import { spawn } from 'node:child_process';
import { lstat, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describeFileError, isSystemError, TkadmError } from '../base/errors.ts';
import { readFileIfExists, writeFileAtomic } from '../base/files.ts';
import type { CommandOptions, CommandResult, FileStat, Host } from '../base/host.ts';

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };

/** The machine that tkadm runs on. */
export function createLocalHost(): Host {
  return {
    name: hostname(),
    run: runLocal,
    readFile: readFileIfExists,
    writeFile: writeFileAtomic,
    stat: statLocal,
    list: listLocal,
    async mkdir(path, options = {}) {
      await mkdir(path, { recursive: true, mode: options.mode ?? 0o755 });
    },
    remove: removeLocal,
  };
}

/** A command that ignores SIGTERM when its time is over gets SIGKILL after this. */
const KILL_AFTER_MS = 5_000;

/** Runs argv without a shell; a command that is not there ends with code 127, a time-out with 124. */
function runLocal(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const { env, input, timeoutMs, signal } = options;
  const words = env ? ['env', ...Object.entries(env).map(([name, value]) => `${name}=${value}`)] : [];
  const [command = '', ...args] = [...words, ...argv];
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const child = spawn(command, args, { stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'] });
    const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)];
    let isLate = false;
    let failure: NodeJS.ErrnoException | undefined;
    let killing: NodeJS.Timeout | undefined;
    const stop = () => {
      child.kill();
      killing ??= setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
    };
    const timer = timeoutMs
      ? setTimeout(() => {
          isLate = true;
          stop();
        }, timeoutMs)
      : undefined;
    signal?.addEventListener('abort', stop, { once: true });
    child.on('error', (error) => {
      failure ??= error;
    });
    child.on('close', (code, signalName) => {
      clearTimeout(timer);
      clearTimeout(killing);
      signal?.removeEventListener('abort', stop);
      if (signal?.aborted) return reject(signal.reason);
      const started = failure?.syscall?.startsWith('spawn') ? undefined : code;
      const exitCode = isLate ? 124 : (started ?? exitCodeOf(failure, signalName));
      resolve({ exitCode, stdout: stdout(), stderr: stderr() || (failure?.message ?? '') });
    });
    if (child.stdin) writeInput(child.stdin, input);
  });
}

/** Returns what has come on a stream. */
function collect(stream: Readable | null): () => string {
  const chunks: Buffer[] = [];
  stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString('utf8');
}

/** 127 and 126 are a shell's codes of a command that is not there and of one that cannot be run. */
function exitCodeOf(failure: NodeJS.ErrnoException | undefined, signal: NodeJS.Signals | null): number {
  if (signal !== null) return 128 + (SIGNAL_NUMBERS[signal] ?? 0);
  return failure?.code === 'ENOENT' ? 127 : 126;
}

/** A command may end without having read all. */
function writeInput(stdin: Writable, input: NonNullable<CommandOptions['input']> | undefined): void {
  stdin.on('error', () => {});
  if (input === undefined || typeof input === 'string' || input instanceof Uint8Array) stdin.end(input);
  else pipeline(Readable.from(input), stdin).catch(() => {});
}

async function statLocal(path: string): Promise<FileStat | undefined> {
  try {
    const stats = await lstat(path);
    const kind = stats.isFile()
      ? 'file'
      : stats.isDirectory()
        ? 'directory'
        : stats.isSymbolicLink()
          ? 'symlink'
          : 'other';
    return { kind, mode: stats.mode & 0o7777, sizeBytes: stats.size };
  } catch (error) {
    if (isSystemError(error, 'ENOENT') || isSystemError(error, 'ENOTDIR')) return undefined;
    throw new TkadmError('FILE_READ', `Cannot look at "${path}": ${describeFileError(error)}`, {
      cause: error,
    });
  }
}

async function listLocal(path: string): Promise<readonly string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    if (isSystemError(error, 'ENOENT') || isSystemError(error, 'ENOTDIR')) return [];
    throw new TkadmError('FILE_READ', `Cannot list "${path}": ${describeFileError(error)}`, { cause: error });
  }
}

/** @throws FILE_WRITE when something below the path is a mount point: a mounted volume's data is not ours. */
async function removeLocal(path: string): Promise<void> {
  const mounts = await mountPointsBelow(path);
  if (mounts.length > 0) {
    throw new TkadmError('FILE_WRITE', `Cannot remove "${path}": "${mounts[0]}" is still mounted`, {
      hint: `umount ${mounts[0]}`,
    });
  }
  await rm(path, { recursive: true, force: true });
}

/** Mount points at or below a path, deepest first (proc(5) mountinfo, field 5, octal escapes). */
async function mountPointsBelow(path: string): Promise<readonly string[]> {
  const text = await readFile('/proc/self/mountinfo', 'utf8');
  const prefix = path.replace(/\/+$/, '');
  return text
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\(\d{3})/g, (_, code) =>
        String.fromCharCode(Number.parseInt(code, 8)),
      ),
    )
    .filter((mountPoint) => mountPoint === prefix || mountPoint.startsWith(`${prefix}/`))
    .sort((a, b) => b.length - a.length);
}
