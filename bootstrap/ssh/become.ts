import { randomBytes } from 'node:crypto';
import type { ClientChannel } from 'ssh2';
import { TkadmError } from '../../runtime/base/errors.ts';

/** How commands of a login get to be root's. */
export type BecomeMethod = 'root' | 'sudo' | 'doas' | 'sudo-password';

/** What the person wants to be used: one of them, or with "auto" what works. */
export type BecomeChoice = 'auto' | 'sudo' | 'doas' | 'none';

/** A part of the probe for each choice: what it tries without asking anybody, and what it finds else. */
const PROBES: Readonly<Record<BecomeChoice, readonly string[]>> = {
  auto: ['sudo', 'doas'],
  sudo: ['sudo'],
  doas: ['doas'],
  none: [],
};

/** A command that says which of them works; in the C locale, without asking anybody. */
export function buildProbe(choice: BecomeChoice = 'auto'): string {
  const programs = PROBES[choice];
  const works = programs.map((name) => `elif ${name} -n true 2>/dev/null; then echo ${name}; `);
  const asks = programs.map((name) => `elif command -v ${name} >/dev/null; then echo ${name}-password; `);
  return `LC_ALL=C; export LC_ALL; if [ "$(id -u)" = 0 ]; then echo root; ${[...works, ...asks].join('')}else echo none; fi`;
}

/**
 * The method in the answer to a probe.
 * @throws SSH_AUTHENTICATION when there is none
 */
export function parseBecomeMethod(answer: string, name: string): BecomeMethod {
  const method = answer.trim().split('\n').at(-1);
  if (method === 'root' || method === 'sudo' || method === 'doas' || method === 'sudo-password')
    return method;
  const state =
    method === 'doas-password'
      ? 'doas wants a password, and takes it at a terminal only'
      : 'the user is not root, and there is no sudo or doas that may be used';
  throw new TkadmError('SSH_AUTHENTICATION', `Cannot become root on "${name}": ${state}`, {
    hint: 'Log in as root, or let the user run sudo or doas (there with "nopass")',
  });
}

/** Words before a command, without a password. */
export const BECOME_WORDS: Readonly<Record<Exclude<BecomeMethod, 'sudo-password'>, readonly string[]>> = {
  root: [],
  sudo: ['sudo', '-n', '--'],
  doas: ['doas', '-n', '--'],
};

/** A command under a sudo that asks for a password on standard input. */
export interface PasswordDialogue {
  readonly argv: readonly string[];
  /**
   * Speaks with sudo until the command is about to run. It waits for one line more, so that nothing is said before
   * somebody listens; what follows that line is the command's.
   * @throws SSH_AUTHENTICATION when sudo does not take the password
   */
  run(channel: ClientChannel, password: string): Promise<void>;
}

/**
 * sudo asks with a text that nobody else prints, and forgets former answers (`-k`), so that the password goes to
 * sudo and never to the command:
 *
 *     stderr: <nonce>?   → password, newline
 *     stderr: <nonce>?   → the password was wrong
 *     stderr: <nonce>!   → a newline, and the command runs
 */
export function startPasswordDialogue(argv: readonly string[], name: string): PasswordDialogue {
  const nonce = randomBytes(9).toString('hex');
  const [question, ready] = [`${nonce}?`, `${nonce}!`];
  const script = 'printf %s "$0" >&2; read -r _; exec "$@"';
  return {
    argv: ['sudo', '-k', '-S', '-p', question, '--', 'sh', '-c', script, ready, ...argv],
    run: async (channel, password) => {
      const state = await speak(channel, { question, ready, password });
      if (state === undefined) return;
      channel.close();
      throw refused(name, state);
    },
  };
}

/** The error of a sudo that wants a password which nobody has given. */
export function noSudoPassword(name: string): TkadmError {
  return refused(name, 'sudo wants a password');
}

function refused(name: string, state: string): TkadmError {
  return new TkadmError('SSH_AUTHENTICATION', `Cannot become root on "${name}": ${state}`, {
    hint: 'Set TKADM_SUDO_PASSWORD, or let the user run sudo without a password',
  });
}

interface Words {
  readonly question: string;
  readonly ready: string;
  readonly password: string;
}

/** A channel whose output nobody reads yet tells of the exit code, and closes later. */
const ENDS = ['exit', 'close'] as const;

/** Why the command will not run; undefined when it will. */
function speak(channel: ClientChannel, { question, ready, password }: Words): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    let hasAnswered = false;
    const finish = (state: string | undefined) => {
      channel.stderr.off('data', listen);
      for (const event of ENDS) channel.off(event, end);
      resolve(state);
    };
    const end = () => finish(text.replaceAll(question, '').trim() || 'sudo ended');
    const listen = (chunk: Buffer) => {
      text += chunk;
      if (text.includes(ready)) finish(undefined);
      else if (text.split(question).length > 2) finish('sudo refused the password');
      else if (!hasAnswered && text.includes(question)) {
        hasAnswered = true;
        channel.write(`${password}\n`);
      }
    };
    channel.stderr.on('data', listen);
    for (const event of ENDS) channel.once(event, end);
  });
}
