import type { ClientChannel } from 'ssh2';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { CommandOptions, CommandResult, FileStat, Host } from '../../runtime/base/host.ts';
import {
  type AskingMethod,
  BECOME_WORDS,
  type BecomeChoice,
  type BecomeMethod,
  buildProbe,
  parseBecomeMethod,
} from './become.ts';
import { noPassword, openWithPassword, PROGRAMS, type StartCommand } from './become-password.ts';
import { sendInput, waitForExit } from './channel.ts';
import type { SshConnection } from './connection.ts';
import { Shells } from './shells.ts';

/** A remote machine as a Host; `openStream` also gives a command's output as it comes. */
export interface SshHost extends Host {
  openStream(argv: readonly string[], options?: Pick<CommandOptions, 'input'>): Promise<ClientChannel>;
  /** Why the connection ended before its time, undefined while it stands. */
  lossReason(): string | undefined;
}

export interface SshHostOptions {
  /** The password for sudo or doas, asked for when that program wants one. */
  readonly becomePassword?: ((program: string) => Promise<string | undefined>) | undefined;
  /** Default: what works. */
  readonly become?: BecomeChoice | undefined;
}

/**
 * The machine behind an SSH connection; commands run as root, for other users through sudo or doas.
 * Command lines are quoted so that a login shell of any kind takes them, and run by `sh`.
 */
export function createSshHost(connection: SshConnection, options: SshHostOptions = {}): SshHost {
  const { user, host } = connection.target;
  const name = `${user}@${host}`;
  const start: StartCommand = (argv, options) =>
    connection.start(`exec ${argv.map(quote).join(' ')}`, options);
  let method: Promise<BecomeMethod> | undefined;
  const findMethod = (): Promise<BecomeMethod> => {
    method ??=
      user === 'root' ? Promise.resolve('root') : probeMethod(start, { name, choice: options.become });
    return method;
  };
  const openSession: SshHost['openStream'] = async (argv, { input } = {}) => {
    const found = await findMethod();
    const words = BECOME_WORDS[found];
    if (!words) return startWithPassword(found as AskingMethod, argv, input);
    const channel = await start([...words, ...argv]);
    sendInput(channel, input);
    return channel;
  };
  const startWithPassword = async (
    method: AskingMethod,
    argv: readonly string[],
    input: CommandOptions['input'],
  ) => {
    const password = await options.becomePassword?.(PROGRAMS[method]);
    if (password === undefined) throw noPassword(method, name);
    const channel = await openWithPassword(method, start, { argv, name, password });
    // The caller listens by then.
    setImmediate(() => {
      channel.write('\n');
      sendInput(channel, input);
    });
    return channel;
  };
  const shells = new Shells((input) => openSession(['sh'], { input }));
  const openStream: SshHost['openStream'] = async (argv, options) =>
    (await shells.openStream(argv.map(quote).join(' '), options?.input)) ?? openSession(argv, options);
  const run: Host['run'] = async (argv, options = {}) => {
    const command = options.env
      ? ['env', ...Object.entries(options.env).map(([name, value]) => `${name}=${value}`), ...argv]
      : argv;
    const result =
      options.input === undefined
        ? await shells.run(command.map(quote).join(' '), options)
        : await collect(await openStream(command, options), options);
    const reason = result.exitCode === 255 ? connection.lossReason() : undefined;
    return reason ? { ...result, stderr: `${result.stderr}the connection was lost: ${reason}\n` } : result;
  };
  const check = async (argv: readonly string[], what: string, options?: CommandOptions): Promise<string> => {
    const result = await run(argv, options);
    if (result.exitCode === 0) return result.stdout;
    throw new TkadmError('FILE_WRITE', `Cannot ${what} on "${host}": ${result.stderr.trim()}`);
  };
  return {
    name,
    run,
    openStream,
    lossReason: () => connection.lossReason(),
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

async function probeMethod(
  start: StartCommand,
  { name, choice }: { readonly name: string; readonly choice: BecomeChoice | undefined },
): Promise<BecomeMethod> {
  const channel = await start(['sh', '-c', buildProbe(choice)]);
  channel.end();
  const { stdout } = await collect(channel, {});
  return parseBecomeMethod(stdout, name);
}

/**
 * Quotes one word for the shells that people log in to: of sh and fish, quotes of both kinds are read alike, but for
 * the backslash, which stands in double quotes.
 */
function quote(word: string): string {
  if (/^[\w./:=@%+,-]+$/.test(word)) return word;
  return `'${word.replace(/['\\]/g, (char) => (char === "'" ? `'"'"'` : `'"\\\\"'`))}'`;
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
