import type { CommandHost } from './cluster.ts';

/** Something to do once the terminal shows a text: a line that is typed, or a command beside the terminal. */
export interface TerminalStep {
  /** A basic regular expression of grep(1). */
  readonly seen: string;
  readonly type?: string;
  readonly run?: string;
}

export interface TerminalOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** What ends the typing: the last text that the script shows. */
  readonly last: string;
}

/**
 * Runs a script in a terminal of its own, script(1), and types as its output asks for it, however long that takes.
 * The result is all that the terminal showed.
 */
export async function inTerminal(
  host: CommandHost,
  script: string,
  steps: readonly TerminalStep[],
  { env = {}, last }: TerminalOptions,
): Promise<string> {
  const see = (text: string) => `until grep -q '${text}' "$OUT"; do sleep 0.1; done`;
  const typing = [
    ...steps.flatMap(({ seen, type, run }) => [
      see(seen),
      ...(run === undefined ? [] : [run]),
      ...(type === undefined ? [] : [`echo '${type}'`]),
    ]),
    see(last),
  ];
  const command = `OUT=$(mktemp); export OUT; (${typing.join('; ')}) | script -qec "$SCRIPT" /dev/null > "$OUT"; cat "$OUT"; rm -f "$OUT"`;
  const { stdout } = await host.exec(['sh', '-c', command], {
    env: { ...env, SCRIPT: script },
    timeoutMs: 90_000,
  });
  return stdout;
}
