import { lstat, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { execa } from 'execa';
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

/** Runs argv without a shell; a command that is not there ends with code 127, a time-out with 124. */
async function runLocal(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [command = '', ...args] = argv;
  const result = await execa(command, args, {
    reject: false,
    stripFinalNewline: false,
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: toInput(options.input) }),
    ...(options.env ? { env: options.env } : {}),
    ...(options.timeoutMs ? { timeout: options.timeoutMs } : {}),
    ...(options.signal ? { cancelSignal: options.signal } : {}),
  });
  if (options.signal?.aborted) throw options.signal.reason;
  return {
    exitCode: exitCodeOf(result),
    stdout: result.stdout ?? '',
    stderr:
      result.stderr || (result.failed && result.exitCode === undefined ? (result.shortMessage ?? '') : ''),
  };
}

function exitCodeOf(result: {
  exitCode?: number | undefined;
  signal?: string | undefined;
  timedOut: boolean;
  code?: string | undefined;
}): number {
  if (result.timedOut) return 124;
  if (result.exitCode !== undefined) return result.exitCode;
  if (result.signal !== undefined) return 128 + (SIGNAL_NUMBERS[result.signal] ?? 0);
  return result.code === 'ENOENT' ? 127 : 126;
}

function toInput(input: NonNullable<CommandOptions['input']>) {
  if (typeof input === 'string' || input instanceof Uint8Array) return input;
  return input as never;
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
