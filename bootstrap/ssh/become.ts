import { TkadmError } from '../../runtime/base/errors.ts';

/** How commands of a login get to be root's. */
export type BecomeMethod = 'root' | 'sudo' | 'doas' | AskingMethod;

/** Programs that want a password. */
export type AskingMethod = 'sudo-password' | 'doas-password';

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
  if (isMethod(method)) return method;
  throw new TkadmError(
    'SSH_AUTHENTICATION',
    `Cannot become root on "${name}": the user is not root, and there is no sudo or doas that may be used`,
    { hint: 'Log in as root, or let the user run sudo or doas' },
  );
}

/** Words before a command; undefined where there is more to say than words ({@link openWithPassword}). */
export const BECOME_WORDS: Readonly<Record<BecomeMethod, readonly string[] | undefined>> = {
  root: [],
  sudo: ['sudo', '-n', '--'],
  doas: ['doas', '-n', '--'],
  'sudo-password': undefined,
  'doas-password': undefined,
};

function isMethod(text: string | undefined): text is BecomeMethod {
  return text !== undefined && Object.hasOwn(BECOME_WORDS, text);
}
