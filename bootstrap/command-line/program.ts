import { Command } from 'commander';
import { EXIT_CODES } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { VERSION } from '../../runtime/base/version.ts';
import type { CliContext } from '../commands/context.ts';
import { EXAMPLES } from '../commands/examples.ts';
import { BUNDLE_COMMANDS } from './bundle.ts';
import { CERTS_COMMANDS } from './certs.ts';
import { CLUSTER_COMMANDS } from './cluster.ts';
import { addCommand, type CommandRow } from './command.ts';
import { CONFIG_COMMANDS } from './config.ts';
import { CTR_COMMANDS } from './ctr.ts';
import { IMAGE_COMMANDS } from './image.ts';
import { PREFLIGHT_COMMANDS } from './preflight.ts';
import { SERVICE_COMMANDS } from './service.ts';
import { TOKEN_COMMANDS } from './token.ts';
import { UPGRADE_COMMANDS } from './upgrade.ts';
import { VERSION_COMMANDS } from './version.ts';

/** All commands, in the order in which help lists them. */
const COMMANDS: readonly CommandRow[] = [
  ...CLUSTER_COMMANDS,
  ...PREFLIGHT_COMMANDS,
  ...TOKEN_COMMANDS,
  ...CERTS_COMMANDS,
  ...CONFIG_COMMANDS,
  ...UPGRADE_COMMANDS,
  ...IMAGE_COMMANDS,
  ...CTR_COMMANDS,
  ...SERVICE_COMMANDS,
  ...BUNDLE_COMMANDS,
  ...VERSION_COMMANDS,
];

export interface ProgramInput {
  readonly context: CliContext;
  /** Usage errors are written as they are found, with help. */
  readonly isText: boolean;
  readonly setExitCode: (code: number) => void;
}

/** Commands that run phases. */
const PHASED = ['init', 'join', 'reset', 'upgrade apply', 'upgrade node'];

/** The command line of `tkadm`, without the commands of phases. */
export function buildProgram({ context, isText, setExitCode }: ProgramInput): Command {
  const program = new Command('tkadm')
    .description('Turns Linux machines into a Kubernetes cluster')
    .version(VERSION, '-V, --version')
    .showHelpAfterError('(add --help for the list of commands and flags)')
    .showSuggestionAfterError()
    .configureOutput({ writeOut: context.write, writeErr: isText ? context.writeError : () => {} })
    // Before the commands are added: each takes it over when it is made.
    .exitOverride()
    .hook('preAction', async (_, command) => {
      if (!(await context.fileExists(PATHS.kubernetes))) return;
      const { noticeExpiry } = await import('../commands/expiry-notice.ts');
      await noticeExpiry(context, { command: topLevelName(command), output: outputOf(command) });
    })
    .addHelpText('after', `\nExit codes: ${formatExitCodes()}\n`);
  for (const row of COMMANDS) addCommand(program, row, { context, setExitCode });
  program
    .command('completion <shell>')
    .description('Print a completion script for bash or zsh')
    .action(async (shell: string) => {
      const { printCompletion } = await import('../commands/completion.ts');
      printCompletion(context, program, shell);
    });
  addExamples(program);
  // `ctr run IMAGE ls -V`: what is behind a command is the command's. Not handed down to the others.
  program.enablePositionalOptions();
  return program;
}

/** The commands of phases are many: they are made for a command line that needs them. Returns its words. */
export async function addPhases(program: Command, context: CliContext, argv: readonly string[]) {
  if (argv.includes('phase') || argv.includes('completion')) {
    const { addPhaseCommands, splitPhaseNames } = await import('../commands/phases.ts');
    const isNeeded = (name: string) =>
      name.split(' ').every((word) => argv.includes(word)) || argv.includes('completion');
    addPhaseCommands(program, context, isNeeded);
    return splitPhaseNames(argv);
  }
  for (const name of PHASED) {
    findCommand(program, name)?.command('phase').description('Run one phase; without a name: list them');
  }
  return argv;
}

/** The words of the command that is meant: ["token", "create"]. */
export function commandWords(program: Command, argv: readonly string[]): readonly string[] {
  const words: string[] = [];
  let command: Command | undefined = program;
  for (const word of argv.filter((text) => !text.startsWith('-'))) {
    command = command?.commands.find((child) => child.name() === word || child.aliases().includes(word));
    if (!command) break;
    words.push(word);
  }
  return words;
}

/** Without --help when the words lead to a command that is not there: its error says more than the help of all. */
export function dropHelpOfUnknown(program: Command, argv: readonly string[]): readonly string[] {
  const isHelp = (word: string) => word === '--help' || word === '-h';
  const words = commandWords(program, argv);
  const next = argv.filter((text) => !text.startsWith('-'))[words.length];
  if (next === undefined || next === 'help' || !isGroup(words)) return argv;
  return argv.filter((word) => !isHelp(word));
}

/** True for words that only lead to commands. */
function isGroup(words: readonly string[]): boolean {
  let rows = COMMANDS;
  for (const word of words) {
    const row = rows.find(({ usage, alias }) => usage.split(' ')[0] === word || alias === word);
    if (!row || row.run || row.commands?.some(({ isDefault }) => isDefault)) return false;
    rows = row.commands ?? [];
  }
  return true;
}

function addExamples(program: Command): void {
  for (const [path, lines] of Object.entries(EXAMPLES)) {
    const text = lines.map((line) => `  ${line}\n`).join('');
    findCommand(program, path)?.addHelpText('after', `\nExamples:\n${text}`);
  }
}

/** The command of words such as "upgrade apply". */
function findCommand(program: Command, path: string): Command | undefined {
  return path
    .split(' ')
    .reduce<Command | undefined>(
      (parent, word) => parent?.commands.find((child) => child.name() === word),
      program,
    );
}

/** The value of -o, wherever between the words of the command it was given. */
function outputOf(command: Command): string {
  const isGiven = command.getOptionValueSource('output') === 'cli';
  return isGiven || !command.parent ? String(command.opts()['output'] ?? 'text') : outputOf(command.parent);
}

/** "certs" of "tkadm certs renew". */
function topLevelName(command: Command): string {
  return command.parent?.parent ? topLevelName(command.parent) : command.name();
}

function formatExitCodes(): string {
  return ['0 done', ...Object.entries(EXIT_CODES).map(([area, code]) => `${code} ${area}`)].join(', ');
}
