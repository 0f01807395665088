import type { NameValue } from './input.ts';

/**
 * A program's arguments, "--name=value": defaults sorted by name without those that the user names, then
 * the user's in their order; a name that the user repeats stays repeated.
 */
export function mergeArguments(
  defaults: Readonly<Record<string, string | undefined>>,
  extraArgs: readonly NameValue[],
): readonly string[] {
  const named = new Set(extraArgs.map((arg) => arg.name));
  const kept = Object.entries(defaults)
    .filter(([name, value]) => value !== undefined && !named.has(name))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return [...kept, ...extraArgs.map(({ name, value }) => [name, value] as const)].map(
    ([name, value]) => `--${name}=${value}`,
  );
}

/** The value that an argument has in the end: the user's last one, or the default. */
export function resolveArgument(name: string, extraArgs: readonly NameValue[], fallback: string): string {
  return extraArgs.findLast((arg) => arg.name === name)?.value ?? fallback;
}
