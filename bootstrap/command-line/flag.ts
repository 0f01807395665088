import { type Command, Option } from 'commander';
import { TkadmError } from '../../runtime/base/errors.ts';

export interface FlagValues {
  /** More than one value: given again and again, or as a list with commas as well. */
  readonly collect?: 'list' | 'repeat';
  /** The values that there are; the first one is the default. */
  readonly choices?: readonly string[];
  /** The values that there are, without a default. */
  readonly values?: readonly string[];
  readonly isRequired?: true;
  /** Another program has it and this one has not: it is named so when it is given, and not shown in help. */
  readonly isRefused?: true;
}

/** A flag as help shows it: "-f, --file <file>", what it does, and which values it takes. */
export type Flag = readonly [declaration: string, description: string, values?: FlagValues];

/** Several values, by commas or by giving the flag again. */
export const LIST = { collect: 'list' } as const;
/** Several values, by giving the flag again. */
export const REPEAT = { collect: 'repeat' } as const;
export const REQUIRED = { isRequired: true } as const;

/** The same flag where it means something more special. */
export function described([declaration, , values]: Flag, description: string): Flag {
  return [declaration, description, values];
}

/** Adds flags to a command, in their order. */
export function addFlags(command: Command, flags: readonly Flag[]): Command {
  for (const flag of flags) command.addOption(toOption(flag));
  return command;
}

function toOption([declaration, description, values = {}]: Flag): Option {
  const option = new Option(declaration, description).makeOptionMandatory(values.isRequired ?? false);
  if (values.collect) option.argParser(COLLECTORS[values.collect]);
  if (values.choices) option.choices(values.choices).default(values.choices[0]);
  if (values.values) option.choices(values.values);
  if (values.isRefused)
    option
      .preset('')
      .argParser(() => refuse(declaration))
      .hideHelp();
  return option;
}

/** @throws UNSUPPORTED */
function refuse(declaration: string): never {
  throw new TkadmError('UNSUPPORTED', `Cannot use "${declaration.split(' ')[0]}": it is not supported`);
}

/** How the values of a flag that may be given more than once are read. */
const COLLECTORS = {
  list: (value: string, previous: readonly string[] = []) => [
    ...previous,
    ...value.split(',').filter(Boolean),
  ],
  repeat: (value: string, previous: readonly string[] = []) => [...previous, value],
} as const;
