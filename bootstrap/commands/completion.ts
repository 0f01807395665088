import type { Command } from 'commander';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { CliContext } from './context.ts';

/**
 * `tkadm completion bash|zsh`: a script made from the table of commands.
 * @throws UNSUPPORTED for another shell.
 */
export function printCompletion(context: CliContext, program: Command, shell: string): void {
  if (shell !== 'bash' && shell !== 'zsh') {
    throw new TkadmError(
      'UNSUPPORTED',
      `Cannot complete for shell "${shell}": only bash and zsh are supported`,
    );
  }
  const rows = [...walk(program, [])];
  const known = rows.slice(1).map(({ path }) => `"${path.join(' ')}"`);
  const cases = rows.map(({ path, words }) => `    "${path.join(' ')}") words="${words.join(' ')}" ;;`);
  const script = [
    '_tkadm() {',
    '  local words="" path="" next i',
    '  for ((i = 1; i < COMP_CWORD; i++)); do',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: shell syntax
    '    next="${path:+$path }${COMP_WORDS[i]}"',
    `    case "$next" in ${known.join('|')}) path="$next" ;; esac`,
    '  done',
    '  case "$path" in',
    ...cases,
    '  esac',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: shell syntax
    '  COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))',
    '}',
    'complete -o default -F _tkadm tkadm',
    '',
  ].join('\n');
  context.write(shell === 'zsh' ? `autoload -U +X bashcompinit && bashcompinit\n${script}` : script);
}

function* walk(
  command: Command,
  path: readonly string[],
): Generator<{ path: readonly string[]; words: readonly string[] }> {
  const words = [
    ...command.commands.map((child) => child.name()),
    ...command.options.map((option) => option.long ?? option.short ?? ''),
    '--help',
  ];
  yield { path, words };
  for (const child of command.commands) yield* walk(child, [...path, child.name()]);
}
