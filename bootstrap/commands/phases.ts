import type { Command } from 'commander';
import { TkadmError } from '../../runtime/base/errors.ts';
import { addFlags } from '../command-line/flag.ts';
import { type FlagName, flags as rowsOfFlags } from '../command-line/flags.ts';
import { checkPhaseNames, groupOf } from '../workflow/phase.ts';
import type { CliContext } from './context.ts';
import { writeData } from './output.ts';
import {
  INIT_PHASE_COMMANDS,
  JOIN_PHASE_COMMANDS,
  type PhaseCommandRow,
  RESET_PHASE_COMMANDS,
} from './phase-table.ts';
import { UPGRADE_APPLY_PHASE_COMMANDS, UPGRADE_NODE_PHASE_COMMANDS } from './upgrade-phase-table.ts';

type Options = Readonly<Record<string, unknown>>;

interface PhasedCommand {
  /** Its words: "init", "upgrade apply". */
  readonly name: string;
  readonly rows: readonly PhaseCommandRow[];
  /** What stands after the phase's name beside flags. */
  readonly operand?: string;
  readonly run: (context: CliContext, options: Options, operands: readonly string[]) => Promise<void>;
}

/** The commands that have phases. */
export const PHASED_COMMANDS: readonly PhasedCommand[] = [
  {
    name: 'init',
    rows: INIT_PHASE_COMMANDS,
    run: async (context, options) => (await import('./init.ts')).runInit(context, options as never),
  },
  {
    name: 'join',
    rows: JOIN_PHASE_COMMANDS,
    operand: '[address]',
    run: async (context, options, [address]) =>
      (await import('./join.ts')).joinThisMachine(context, address, options as never),
  },
  {
    name: 'reset',
    rows: RESET_PHASE_COMMANDS,
    run: async (context, options) => (await import('./reset.ts')).runReset(context, options as never),
  },
  {
    name: 'upgrade apply',
    rows: UPGRADE_APPLY_PHASE_COMMANDS,
    run: async (context, options) =>
      (await import('./upgrade-apply.ts')).runUpgradeApply(context, undefined, options as never),
  },
  {
    name: 'upgrade node',
    rows: UPGRADE_NODE_PHASE_COMMANDS,
    run: async (context, options) =>
      (await import('./upgrade-apply.ts')).runUpgradeNode(context, options as never),
  },
];

/** The command line with "phase certs/ca" as "phase certs ca". */
export function splitPhaseNames(argv: readonly string[]): readonly string[] {
  const start = argv.indexOf('phase');
  if (start < 0) return argv;
  const names = PHASED_COMMANDS.flatMap(({ rows }) => rows.map((row) => row.name));
  const isName = (word: string) =>
    names.includes(word) || names.some((name) => word === `${groupOf(name)}/all` && word !== `${name}/all`);
  const index = argv.findIndex((word, i) => i > start && word.includes('/') && isName(word));
  return index < 0 ? argv : [...argv.slice(0, index), ...argv[index]!.split('/'), ...argv.slice(index + 1)];
}

/** Adds `phase` with a command for every phase, and every part of one, to the commands that `isNeeded` names. */
export function addPhaseCommands(
  program: Command,
  context: CliContext,
  isNeeded: (name: string) => boolean = () => true,
): void {
  // A flag after the name of a phase is the phase's, not that of a command above it.
  program.enablePositionalOptions();
  for (const phased of PHASED_COMMANDS.filter(({ name }) => isNeeded(name))) {
    let parent = program;
    for (const word of phased.name.split(' ')) {
      parent = parent.commands.find((command) => command.name() === word)!;
      parent.enablePositionalOptions();
    }
    addPhases(parent, phased, context);
  }
}

function addPhases(parent: Command, phased: PhasedCommand, context: CliContext): void {
  const { rows } = phased;
  const phase = addFlags(parent.command('phase [name]'), rowsOfFlags('output'))
    .description(`Run one phase of ${phased.name}; without a name: list them`)
    .enablePositionalOptions()
    // A name that is no phase is what is wrong, not the flags behind it.
    .allowUnknownOption()
    .allowExcessArguments()
    .action((name: string | undefined, options: { readonly output: string }) => {
      if (name === undefined) listPhases(context, rows, options.output);
      else checkPhaseNames(rows, [name]);
    });
  for (const group of new Set(rows.map((row) => groupOf(row.name)))) {
    const parts = rows.filter((row) => row.name.startsWith(`${group}/`));
    const single = rows.find((row) => row.name === group);
    if (single) addPhase(phase, { ...single, phased, context });
    else addGroup(phase, group, { parts, phased, context });
  }
}

interface GroupInput {
  readonly parts: readonly PhaseCommandRow[];
  readonly phased: PhasedCommand;
  readonly context: CliContext;
}

/** `certs`, `certs all` and `certs ca`. */
function addGroup(parent: Command, group: string, { parts, phased, context }: GroupInput): void {
  const flags = [...new Set(parts.flatMap((row) => row.flags))];
  const names = parts.map((row) => row.name.slice(group.length + 1));
  const input = { name: group, flags, phased, context };
  const command = addPhase(parent, { ...input, description: `All of: ${names.join(', ')}`, parts: names });
  command.enablePositionalOptions();
  addPhase(command, { ...input, description: 'All of them', commandName: 'all' });
  for (const row of parts) {
    addPhase(command, { ...row, phased, context, commandName: row.name.slice(group.length + 1) });
  }
}

interface PhaseInput extends PhaseCommandRow {
  readonly phased: PhasedCommand;
  readonly context: CliContext;
  readonly commandName?: string;
  /** Of a group: what it consists of. */
  readonly parts?: readonly string[];
}

function addPhase(parent: Command, input: PhaseInput): Command {
  const { name, description, flags, phased, context, parts } = input;
  const operand = parts ? '[part]' : phased.operand;
  const command = parent
    .command(`${input.commandName ?? name}${operand ? ` ${operand}` : ''}`)
    .description(description);
  addFlags(command, rowsOfFlags(...new Set<FlagName>(['config', 'dry-run', ...flags, 'output'])));
  command.action(async (...args: readonly unknown[]) => {
    const operands = args.slice(0, operand ? 1 : 0).filter((word) => word !== undefined) as string[];
    if (parts && operands.length > 0) return refusePart(name, operands[0]!, phased);
    await phased.run(context, { ...collectOptions(command), onlyPhase: name }, operands);
  });
  return command;
}

/** The flags of a command over those that were given before its name. */
function collectOptions(command: Command): Options {
  return command.parent ? { ...collectOptions(command.parent), ...command.opts() } : {};
}

/** @throws PHASE_UNKNOWN, or USAGE for an operand that only a part of the group takes */
function refusePart(group: string, part: string, { rows }: PhasedCommand): never {
  checkPhaseNames(rows, [`${group}/${part}`]);
  throw new TkadmError('USAGE', `Cannot use "${part}" here`);
}

function listPhases(context: CliContext, rows: readonly PhaseCommandRow[], output: string): void {
  const phases = rows.map(({ name, description, flags }) => ({ name, description, flags }));
  const width = Math.max(...rows.map((row) => row.name.length));
  const lines = rows.map((row) => `${row.name.padEnd(width)}   ${row.description}\n`);
  writeData(context, output, { phases }, lines.join(''));
}
