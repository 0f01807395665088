import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ClientChannel } from 'ssh2';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { CommandOptions, CommandResult, FileStat, Host } from '../../runtime/base/host.ts';
import type { SshConnection } from './connection.ts';

/** A remote machine as a Host; `openStream` also gives a command's output as it comes. */
export interface SshHost extends Host {
  openStream(argv: readonly string[], options?: Pick<CommandOptions, 'input'>): Promise<ClientChannel>;
}

/**
 * The machine behind an SSH connection; commands run as root, through `sudo -n` for other users.
 * Command lines are POSIX sh quoted and wrapped in `sh -c`, whatever the login shell is.
 */
export function createSshHost(connection: SshConnection): SshHost {
  const { user, host } = connection.target;
  const openStream: SshHost['openStream'] = async (argv, options = {}) => {
    const words = user === 'root' ? argv : ['sudo', '-n', '--', ...argv];
    const channel = await connection.start(`exec ${words.map(quote).join(' ')}`);
    sendInput(channel, options.input);
    return channel;
  };
  const run: Host['run'] = async (argv, options = {}) => {
    const command = options.env
      ? ['env', ...Object.entries(options.env).map(([name, value]) => `${name}=${value}`), ...argv]
      : argv;
    const result = await collect(await openStream(command, options), options);
    const reason = result.exitCode === 255 ? connection.lossReason() : undefined;
    return reason ? { ...result, stderr: `${result.stderr}the connection was lost: ${reason}\n` } : result;
  };
  const check = async (argv: readonly string[], what: string, options?: CommandOptions): Promise<string> => {
    const result = await run(argv, options);
    if (result.exitCode === 0) return result.stdout;
    throw new TkadmError('FILE_WRITE', `Cannot ${what} on "${host}": ${result.stderr.trim()}`);
  };
  return {
    name: `${user}@${host}`,
    run,
    openStream,
    async readFile(path) {
      const result = await run(['sh', '-c', '[ -e "$1" ] || exit 44; exec cat -- "$1"', 'sh', path]);
      if (result.exitCode === 44) return undefined;
      if (result.exitCode === 0) return result.stdout;
      throw new TkadmError('FILE_READ', `Cannot read "${path}" on "${host}": ${result.stderr.trim()}`);
    },
    async writeFile(path, content, options = {}) {
      const mode = (options.mode ?? 0o644).toString(8);
      const script =
        'set -e; d=$(dirname -- "$1"); mkdir -p -- "$d"; t=$(mktemp "$d/.tkadm.XXXXXX"); trap \'rm -f -- "$t"\' EXIT; cat >"$t"; chmod "$2" "$t"; sync "$t" 2>/dev/null || sync; mv -f -- "$t" "$1"; trap - EXIT';
      await check(['sh', '-c', script, 'sh', path, mode], `write "${path}"`, { input: content });
    },
    async stat(path) {
      const result = await run(['stat', '-c', '%F:%a:%s', '--', path]);
      return result.exitCode === 0 ? parseStat(result.stdout) : undefined;
    },
    async list(path) {
      const result = await run(['ls', '-1A', '--', path]);
      return result.exitCode === 0 ? result.stdout.split('\n').filter(Boolean).sort() : [];
    },
    async mkdir(path, options = {}) {
      await check(['mkdir', '-p', '-m', (options.mode ?? 0o755).toString(8), '--', path], `create "${path}"`);
    },
    async remove(path) {
      await check(['rm', '-rf', '--one-file-system', '--', path], `remove "${path}"`);
    },
  };
}

/** Quotes one word for POSIX sh. */
export function quote(word: string): string {
  return /^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function sendInput(channel: ClientChannel, input: CommandOptions['input']): void {
  if (input === undefined || typeof input === 'string' || input instanceof Uint8Array) {
    channel.end(input);
    return;
  }
  pipeline(Readable.from(input), channel).catch(() => channel.close());
}

async function collect(channel: ClientChannel, options: CommandOptions): Promise<CommandResult> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  channel.on('data', (chunk: Buffer) => stdout.push(chunk));
  channel.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  const abort = () => channel.close();
  options.signal?.addEventListener('abort', abort, { once: true });
  const timer = options.timeoutMs ? setTimeout(abort, options.timeoutMs) : undefined;
  const exitCode = await waitForExit(channel);
  clearTimeout(timer);
  options.signal?.removeEventListener('abort', abort);
  options.signal?.throwIfAborted();
  return {
    exitCode,
    stdout: Buffer.concat(stdout).toString('utf8'),
    stderr: Buffer.concat(stderr).toString('utf8'),
  };
}

/** The exit code of a channel's command; 255 when the connection ended first, as ssh(1) has it. */
export function waitForExit(channel: ClientChannel): Promise<number> {
  return new Promise((resolve) => {
    let exitCode = 255;
    channel.on('exit', (code: number | null, signal?: string) => {
      exitCode = code ?? (signal ? 128 + 15 : 255);
    });
    channel.on('close', () => resolve(exitCode));
  });
}

function parseStat(text: string): FileStat {
  const [type = '', mode = '0', size = '0'] = text.trim().split(':');
  const kind = type.includes('symbolic')
    ? 'symlink'
    : type.includes('directory')
      ? 'directory'
      : type.includes('regular')
        ? 'file'
        : 'other';
  return { kind, mode: Number.parseInt(mode, 8), sizeBytes: Number(size) };
}
