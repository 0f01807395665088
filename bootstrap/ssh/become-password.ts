import { randomBytes } from 'node:crypto';
import type { Readable, Writable } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { AskingMethod } from './become.ts';

/** Starts a command of the login; with a terminal its standard output is the terminal's, without echo. */
export type StartCommand = (
  argv: readonly string[],
  options?: { readonly hasTerminal: boolean },
) => Promise<ClientChannel>;

export interface AskingCommand {
  readonly argv: readonly string[];
  /** The login, as errors name it. */
  readonly name: string;
  readonly password: string;
}

/**
 * Starts a command under a program that asks for a password. The command waits for one line more, so that nothing is
 * said before somebody listens; what follows that line is the command's.
 * @throws SSH_AUTHENTICATION when the password is not taken
 */
export function openWithPassword(
  method: AskingMethod,
  start: StartCommand,
  command: AskingCommand,
): Promise<ClientChannel> {
  return OPENERS[method](start, command);
}

const OPENERS: Readonly<
  Record<AskingMethod, (start: StartCommand, command: AskingCommand) => Promise<ClientChannel>>
> = {
  'sudo-password': openWithSudo,
  'doas-password': openWithDoas,
};

/** The error of a program that wants a password which nobody has given. */
export function noPassword(method: AskingMethod, name: string): TkadmError {
  return refused(name, `${PROGRAMS[method]} wants a password`);
}

export const PROGRAMS: Readonly<Record<AskingMethod, string>> = {
  'sudo-password': 'sudo',
  'doas-password': 'doas',
};

function refused(name: string, state: string): TkadmError {
  return new TkadmError('SSH_AUTHENTICATION', `Cannot become root on "${name}": ${state}`, {
    hint: 'Set TKADM_SUDO_PASSWORD, or let the user become root without a password',
  });
}

/** What the command is run by: it tells on standard error that it is there, and waits for a line. */
const WAIT = 'printf %s "$0" >&2; read -r _; exec "$@"';

/**
 * sudo asks with a text that nobody else prints, and forgets former answers (`-k`), so that the password goes to
 * sudo and never to the command:
 *
 *     stderr: <nonce>?   → password, newline
 *     stderr: <nonce>?   → the password was wrong
 *     stderr: <nonce>!   → a newline, and the command runs
 */
async function openWithSudo(start: StartCommand, command: AskingCommand): Promise<ClientChannel> {
  const nonce = randomBytes(9).toString('hex');
  const [question, ready] = [`${nonce}?`, `${nonce}!`];
  const words = ['sudo', '-k', '-S', '-p', question, '--', 'sh', '-c', WAIT, ready, ...command.argv];
  const channel = await start(words);
  await speak(command, {
    program: 'sudo',
    question,
    asks: channel.stderr,
    answers: channel,
    ready,
    channel,
  });
  return channel;
}

/** Four pipes with names in a folder of the login's own, which the terminal's loss removes. */
const DOAS = [
  'd=$(mktemp -d) && mkfifo -m 600 "$d/in" "$d/out" "$d/err" "$d/code" || exit 1',
  `trap 'rm -rf "$d"' EXIT; trap 'exit 129' HUP`,
  'echo "$0$d"',
  'exec 9>"$d/code"; LC_ALL=C doas -- "$@" <"$d/in" >"$d/out" 2>"$d/err"; echo $? >&9',
].join('; ');

/** Carries what goes through the pipes; ends as the command does. A shell takes the input of what it runs aside: `<&3`. */
const RELAY = [
  'd=$0; [ -p "$d/code" ] || exit 255; exec 3<&0',
  'cat <&3 >"$d/in" & i=$!; cat <"$d/out" & o=$!; cat <"$d/err" >&2 & e=$!',
  'code=255; read -r code <"$d/code"; wait $o $e; kill $i 2>/dev/null; exit "$code"',
].join('; ');

/**
 * doas asks at a terminal only, with a text of its own. So it has one, on which nothing but its question and the answer
 * are said; the command's input and output go through pipes, to a second channel that is like any other's:
 *
 *     terminal: <nonce><folder>         → the relay starts
 *     terminal: doas (...) password:    → password, newline
 *     relay's stderr: <nonce>!          → a newline, and the command runs
 */
async function openWithDoas(start: StartCommand, command: AskingCommand): Promise<ClientChannel> {
  const nonce = randomBytes(9).toString('hex');
  const ready = `${nonce}!`;
  const words = ['sh', '-c', DOAS, nonce, 'sh', '-c', WAIT, ready, ...command.argv];
  const terminal = await start(words, { hasTerminal: true });
  const folder = await readFolder(terminal, nonce, command.name);
  const channel = await start(['sh', '-c', RELAY, folder]).catch((error) => {
    terminal.close();
    throw error;
  });
  // A relay that is given up takes the terminal with it, whose loss ends the command.
  channel.once('close', () => terminal.close());
  await speak(command, {
    program: 'doas',
    question: 'assword: ',
    asks: terminal,
    answers: terminal,
    ready,
    channel,
  });
  terminal.resume();
  return channel;
}

/** The folder of the pipes, which is the terminal's first line. */
function readFolder(terminal: ClientChannel, nonce: string, name: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const end = () => reject(refused(name, `no terminal for doas: ${text.trim() || 'the session ended'}`));
    const listen = (chunk: Buffer) => {
      text += chunk;
      const folder = new RegExp(`${nonce}(/\\S+)\\r?\\n`).exec(text)?.[1];
      if (folder === undefined) return;
      terminal.off('data', listen);
      terminal.off('close', end);
      // What doas said already is for its own listener.
      terminal.pause();
      const rest = text.slice(text.indexOf(folder) + folder.length);
      if (rest.trim() !== '') terminal.unshift(Buffer.from(rest));
      resolve(folder);
    };
    terminal.on('data', listen);
    terminal.once('close', end);
  });
}

interface Dialogue {
  readonly program: string;
  readonly question: string;
  readonly asks: Readable;
  readonly answers: Writable;
  /** What the command tells on the channel's standard error. */
  readonly ready: string;
  readonly channel: ClientChannel;
}

/** A channel whose output nobody reads yet tells of the exit code, and closes later. */
const END_EVENTS = ['exit', 'close'] as const;

/** Gives the password once, when asked, until the command is about to run. */
async function speak({ name, password }: AskingCommand, dialogue: Dialogue): Promise<void> {
  const state = await new Promise<string | undefined>((resolve) => {
    const { program, question, asks, answers, ready, channel } = dialogue;
    let text = '';
    let hasAnswered = false;
    const sources = new Set<Readable>([asks, channel.stderr]);
    const finish = (state: string | undefined) => {
      for (const source of sources) source.off('data', listen);
      for (const event of END_EVENTS) channel.off(event, stop);
      resolve(state);
    };
    const stop = () => finish(describeEnd(text, dialogue));
    const listen = (chunk: Buffer) => {
      text += chunk;
      if (text.includes(ready)) finish(undefined);
      else if (text.split(question).length > 2) finish(`${program} refused the password`);
      else if (!hasAnswered && text.includes(question)) {
        hasAnswered = true;
        answers.write(`${password}\n`);
      }
    };
    for (const source of sources) source.on('data', listen).resume();
    for (const event of END_EVENTS) channel.once(event, stop);
  });
  if (state === undefined) return;
  dialogue.channel.close();
  throw refused(name, state);
}

/** What the program said after its question. */
function describeEnd(text: string, { program, question }: Dialogue): string {
  return text.split(question).at(-1)?.trim() || `${program} ended`;
}
