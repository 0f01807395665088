import type { Command } from 'commander';
import type { CliContext } from '../commands/context.ts';
import { addFlags, type Flag } from './flag.ts';

export interface CommandRow {
  /** Its name and operands, in commander's words: "renew <name>", "join [addresses...]". */
  readonly usage: string;
  readonly description: string;
  readonly alias?: string;
  /** Help does not list it. */
  readonly isHidden?: true;
  /** What is run when a command above it is given no further word. */
  readonly isDefault?: true;
  readonly flags?: readonly Flag[];
  readonly commands?: readonly CommandRow[];
  /** What a flag cannot say: flags that are passed on, and the like. */
  readonly configure?: (command: Command) => void;
  /**
   * Runs it. Options and operands are as commander read them: text, or as their flags say. The sources of a
   * command are imported here, so that others do not wait for them. A number is the exit code.
   */
  readonly run?: (
    context: CliContext,
    options: never,
    ...operands: readonly never[]
    // biome-ignore lint/suspicious/noConfusingVoidType: most commands return nothing
  ) => Promise<number | void> | number | void;
}

interface CommandInput {
  readonly context: CliContext;
  readonly setExitCode: (code: number) => void;
}

/** Adds a row, and those below it, to a command. */
export function addCommand(parent: Command, row: CommandRow, input: CommandInput): void {
  const command = parent
    .command(row.usage, { hidden: row.isHidden ?? false, isDefault: row.isDefault ?? false })
    .description(row.description);
  if (row.alias) command.alias(row.alias);
  addFlags(command, row.flags ?? []);
  row.configure?.(command);
  for (const child of row.commands ?? []) addCommand(command, child, input);
  const { run } = row;
  if (!run) return;
  command.action(async (...args: readonly unknown[]) => {
    // The operands, then the options, then the command.
    const code = await run(input.context, args.at(-2) as never, ...(args.slice(0, -2) as never[]));
    if (code !== undefined) input.setExitCode(code);
  });
}
