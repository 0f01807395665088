import { type Dockerfile, type Instruction, invalid } from '../dockerfile.ts';
import { expandWord, splitWords, type Variables } from '../dockerfile-words.ts';

export interface ArgumentScopes {
  /** What the stage has already. */
  readonly scope: Variables;
  /** ARGs before the first FROM. */
  readonly globals: Variables;
  /** `--build-arg` */
  readonly given: Readonly<Record<string, string>>;
}

/**
 * The scope after `ARG NAME` or `ARG NAME=default`: a build argument wins; a global ARG gives the default of the
 * same name.
 * @throws DOCKERFILE_INVALID
 */
export function declareArgs(row: Instruction, { scope, globals, given }: ArgumentScopes): Variables {
  const declared = new Map(scope);
  for (const word of splitWords(row.text, row.line)) {
    const [, name = '', value] = /^([A-Za-z_]\w*)(?:=([\s\S]*))?$/.exec(word) ?? [];
    if (name === '') throw invalid(row.line, `ARG "${word}"`);
    const preset = value === undefined ? globals.get(name) : expandWord(value, declared);
    const chosen = given[name] ?? preset;
    if (chosen !== undefined) declared.set(name, chosen);
  }
  return declared;
}

/** The names that any ARG of the file declares. */
export function argumentNames({ globalArgs, stages }: Dockerfile): ReadonlySet<string> {
  const rows = [...globalArgs, ...stages.flatMap((stage) => stage.instructions)];
  const words = rows.flatMap((row) => (row.name === 'ARG' ? splitWords(row.text, row.line) : []));
  return new Set(words.map((word) => word.split('=', 1)[0]!));
}

/** ARGs that every Dockerfile has without declaring them (Dockerfile reference, "global scope"). */
export function platformArgs(architecture: string): Variables {
  const rows = { PLATFORM: `linux/${architecture}`, OS: 'linux', ARCH: architecture };
  return new Map(
    Object.entries(rows).flatMap(([name, value]) => [
      [`TARGET${name}`, value],
      [`BUILD${name}`, value],
    ]),
  );
}

/** `--build-arg`s that need no ARG, are seen by RUN alone and do not count for the cache. */
const PROXY_ARGS = ['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'] as const;

export function isProxyArg(name: string): boolean {
  return PROXY_ARGS.some((row) => row === name || row.toLowerCase() === name);
}

/** "NAME=value" of the given proxies, for the environment of a RUN. */
export function proxyEnvironment(given: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(given).flatMap(([name, value]) => (isProxyArg(name) ? [`${name}=${value}`] : []));
}
