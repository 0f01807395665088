import type { Command } from 'commander';
import t from 'tap';
import { FLAGS } from '../../../bootstrap/command-line/flags.ts';
import {
  addPhases,
  buildProgram,
  commandWords,
  dropHelpOfUnknown,
} from '../../../bootstrap/command-line/program.ts';
import type { CliContext } from '../../../bootstrap/commands/context.ts';

async function build(onExitCode: (code: number) => void = () => {}): Promise<Command> {
  const context = { write: () => {}, writeError: () => {}, fileExists: async () => false };
  const program = buildProgram({
    context: context as unknown as CliContext,
    isText: true,
    setExitCode: onExitCode,
  });
  // With all phases, as completion needs them.
  await addPhases(program, context as unknown as CliContext, ['completion']);
  return program;
}

function* walk(command: Command): Generator<Command> {
  yield command;
  for (const child of command.commands) yield* walk(child);
}

t.test('FLAGS are keyed by their name, and each is a flag of some command', async (t) => {
  const used = new Set(
    [...walk(await build())].flatMap((command) => command.options.map((row) => row.flags)),
  );
  for (const [name, [declaration]] of Object.entries(FLAGS)) {
    t.match(declaration, new RegExp(`(^|, )--${name}( |$)`), name);
    t.ok(used.has(declaration), `"${declaration}" is used`);
  }
});

t.test('every command says what it does and takes each flag once', async (t) => {
  for (const command of walk(await build())) {
    t.match(command.description(), /\S/, command.name());
    const names = command.options.map((option) => option.long);
    t.same(names, [...new Set(names)], command.name());
  }
});

t.test('a command without commands below it can be run', async (t) => {
  for (const command of walk(await build())) {
    const isLeaf = command.commands.length === 0;
    // commander keeps the action's handler to itself.
    if (isLeaf) t.type(Reflect.get(command, '_actionHandler'), 'function', command.name());
  }
});

t.test('addPhases() leaves the phases out of a command line that has none', async (t) => {
  const context = {} as CliContext;
  const program = buildProgram({ context, isText: true, setExitCode: () => {} });
  const argv = ['node', 'tkadm', 'token', 'list'];
  t.equal(await addPhases(program, context, argv), argv);
  const init = program.commands.find((command) => command.name() === 'init');
  t.same(
    init?.commands.map((command) => [command.name(), command.commands.length]),
    [['phase', 0]],
  );
  const apply = program.commands.find((command) => command.name() === 'apply');
  t.same(apply?.commands, [], 'apply has no phases');
});

t.test('commandWords() are those of the command, not its operands', async (t) => {
  const program = await build();
  t.same(commandWords(program, ['token', '-o', 'json', 'create', 'abcdef']), ['token']);
  t.same(commandWords(program, ['certs', 'renew', 'all', '--no-wait']), ['certs', 'renew']);
  t.same(commandWords(program, ['nothing']), []);
});

t.test('dropHelpOfUnknown() leaves help to commands that are there', async (t) => {
  const program = await build();
  const rows: readonly [argv: readonly string[], isDropped: boolean][] = [
    [['jion', '--help'], true],
    [['certs', 'renwe', '-h'], true],
    [['--help'], false],
    [['certs', '--help'], false],
    [['join', '10.0.0.1', '--help'], false],
    [['preflight', 'x', '--help'], false],
    [['init', 'phase', 'certs', 'ca', '--help'], false],
    [['help', 'certs'], false],
  ];
  for (const [argv, isDropped] of rows)
    t.same(dropHelpOfUnknown(program, argv), isDropped ? argv.slice(0, -1) : argv, argv.join(' '));
});
