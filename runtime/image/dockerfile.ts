import { TkadmError } from '../base/errors.ts';

/** A here-document `<<NAME`; in a quoted one, `<<"NAME"`, variables stay as they are. */
export interface Heredoc {
  readonly name: string;
  readonly isQuoted: boolean;
  readonly content: string;
}

/** One instruction with its line; `flags` are the `--name=value` words before the arguments. */
export interface Instruction {
  readonly line: number;
  readonly name: InstructionName;
  readonly flags: Readonly<Record<string, string>>;
  /** The values of flags that may come several times, in order. */
  readonly lists: Readonly<Partial<Record<RepeatableFlag, readonly string[]>>>;
  /** The arguments as written, continuation lines joined. */
  readonly text: string;
  /** The arguments of the JSON form `["a", "b"]`; undefined in the shell form. */
  readonly json: readonly string[] | undefined;
  readonly heredocs: readonly Heredoc[];
}

/** One `FROM` with its instructions. */
export interface Stage {
  readonly index: number;
  readonly name: string | undefined;
  readonly from: Instruction;
  readonly instructions: readonly Instruction[];
}

export interface Dockerfile {
  /** `ARG`s before the first `FROM`. */
  readonly globalArgs: readonly Instruction[];
  readonly stages: readonly Stage[];
}

/** Every instruction with the flags that are supported. */
export const INSTRUCTIONS = {
  ADD: ['chown', 'chmod', 'link', 'checksum', 'exclude'],
  ARG: [],
  CMD: [],
  COPY: ['from', 'chown', 'chmod', 'link', 'parents', 'exclude'],
  ENTRYPOINT: [],
  ENV: [],
  EXPOSE: [],
  FROM: ['platform'],
  HEALTHCHECK: ['interval', 'timeout', 'start-period', 'start-interval', 'retries'],
  LABEL: [],
  MAINTAINER: [],
  ONBUILD: [],
  RUN: ['mount', 'network'],
  SHELL: [],
  STOPSIGNAL: [],
  USER: [],
  VOLUME: [],
  WORKDIR: [],
} as const satisfies Record<string, readonly string[]>;

export type InstructionName = keyof typeof INSTRUCTIONS;

const REPEATABLE_FLAGS = ['mount', 'exclude'] as const;

export type RepeatableFlag = (typeof REPEATABLE_FLAGS)[number];

/**
 * Parses a Dockerfile (Dockerfile reference: format, continuation lines, comments, JSON forms,
 * here-documents).
 * @throws DOCKERFILE_INVALID with the line.
 */
export function parseDockerfile(text: string): Dockerfile {
  const instructions = splitInstructions(text.split(/\r?\n/));
  const firstFrom = instructions.findIndex((row) => row.name === 'FROM');
  if (firstFrom < 0) throw invalid(1, 'no FROM instruction');
  const globalArgs = instructions.slice(0, firstFrom);
  const stray = globalArgs.find((row) => row.name !== 'ARG');
  if (stray) throw invalid(stray.line, `${stray.name} before the first FROM`);
  const starts = instructions.flatMap((row, index) => (row.name === 'FROM' ? [index] : []));
  const stages = starts.map((start, index) => {
    const from = instructions[start]!;
    return {
      index,
      name: stageName(from),
      from,
      instructions: instructions.slice(start + 1, starts[index + 1]),
    };
  });
  return { globalArgs, stages };
}

/** "IMAGE" or "IMAGE AS NAME". */
function stageName(from: Instruction): string | undefined {
  const [, keyword, name, ...rest] = from.text.split(/\s+/);
  if (keyword === undefined) return undefined;
  if (keyword.toLowerCase() !== 'as' || name === undefined || rest.length > 0) {
    throw invalid(from.line, `FROM "${from.text}", which is not IMAGE or IMAGE AS NAME`);
  }
  return name.toLowerCase();
}

function splitInstructions(lines: readonly string[]): readonly Instruction[] {
  checkDirectives(lines);
  const result: Instruction[] = [];
  for (let next = 0; next < lines.length; ) {
    if (isBlank(lines[next]!)) {
      next += 1;
      continue;
    }
    const line = next + 1;
    const joined = joinLines(lines, next);
    const { heredocs, end } = readHeredocs(lines, joined, line);
    result.push(parseInstruction(joined.text.trim(), line, heredocs));
    next = end;
  }
  return result;
}

/** Parser directives stand before everything else; others than `escape` do not change what is built. */
function checkDirectives(lines: readonly string[]): void {
  for (const [index, line] of lines.entries()) {
    const [, name = '', value = ''] = /^#\s*(\w+)\s*=\s*(\S+)/.exec(line) ?? [];
    if (name === '') return;
    if (name.toLowerCase() === 'escape' && value !== '\\') {
      throw invalid(index + 1, `the escape character "${value}", but only "\\" is supported`);
    }
  }
}

interface JoinedLines {
  readonly text: string;
  /** Index of the first line behind. */
  readonly end: number;
}

/** An instruction's first line and its continuation lines; comments between them are left out. */
function joinLines(lines: readonly string[], start: number): JoinedLines {
  let text = '';
  for (let index = start; index < lines.length; index += 1) {
    const line = lines[index]!;
    if (index > start && isBlank(line)) continue;
    const trimmed = line.trimEnd();
    if (!trimmed.endsWith('\\')) return { text: text + line, end: index + 1 };
    text += trimmed.slice(0, -1);
  }
  return { text, end: lines.length };
}

const HEREDOC = /(?<=\s)\d*<<(-?)(["']?)([A-Za-z_][\w.]*)\2(?=$|[\s;|&)>])/g;

function readHeredocs(
  lines: readonly string[],
  { text, end }: JoinedLines,
  line: number,
): { readonly heredocs: readonly Heredoc[]; readonly end: number } {
  const heredocs: Heredoc[] = [];
  if (!/^\s*(RUN|COPY|ADD)\s/i.test(text)) return { heredocs, end };
  let next = end;
  for (const [, dash, quote, name = ''] of text.matchAll(HEREDOC)) {
    const strip = (row: string) => (dash === '-' ? row.replace(/^\t+/, '') : row);
    let stop = next;
    while (stop < lines.length && strip(lines[stop]!) !== name) stop += 1;
    if (stop === lines.length) throw invalid(line, `a here-document "${name}" that does not end`);
    const content = lines.slice(next, stop).map((row) => `${strip(row)}\n`);
    heredocs.push({ name, isQuoted: quote !== '', content: content.join('') });
    next = stop + 1;
  }
  return { heredocs, end: next };
}

const FLAG = /^--([a-z-]+)(?:=(\S*))?(?:\s+|$)/;

function parseInstruction(text: string, line: number, heredocs: readonly Heredoc[]): Instruction {
  const [word = ''] = text.split(/\s/, 1);
  const name = word.toUpperCase();
  if (!isInstruction(name)) throw invalid(line, `an unknown instruction "${word}"`);
  const { flags, lists, rest } = parseFlags(name, text.slice(word.length).trim(), line);
  if (rest === '') throw invalid(line, `${name} without arguments`);
  const json = parseJson(rest);
  if ([text, ...(json ?? [])].some((part) => part.includes('\0'))) throw invalid(line, 'a byte of zero');
  return { line, name, flags, lists, text: rest, json, heredocs };
}

/**
 * The instruction that an ONBUILD holds for images built on this one (Dockerfile reference, "ONBUILD").
 * @throws DOCKERFILE_INVALID for those that it may not hold.
 */
export function parseTrigger(text: string, line: number): Instruction {
  const trigger = parseInstruction(text.trim(), line, []);
  if (['ONBUILD', 'FROM', 'MAINTAINER'].includes(trigger.name))
    throw invalid(line, `ONBUILD ${trigger.name}`);
  return trigger;
}

function parseFlags(name: InstructionName, text: string, line: number) {
  const supported: readonly string[] = INSTRUCTIONS[name];
  const flags: Record<string, string> = {};
  const lists: Partial<Record<RepeatableFlag, string[]>> = {};
  let rest = text;
  for (let match = FLAG.exec(rest); match; match = FLAG.exec(rest)) {
    const [whole, flag = '', value = 'true'] = match;
    if (!supported.includes(flag)) throw invalid(line, `${name} --${flag}, which is not supported`);
    if (isRepeatable(flag)) {
      lists[flag] ??= [];
      lists[flag].push(value);
    } else if (flag in flags) throw invalid(line, `${name} --${flag} twice`);
    else flags[flag] = value;
    rest = rest.slice(whole.length);
  }
  return { flags, lists, rest };
}

function isRepeatable(flag: string): flag is RepeatableFlag {
  return (REPEATABLE_FLAGS as readonly string[]).includes(flag);
}

/** The value of a flag that is there or not: "--link", "--link=false". @throws DOCKERFILE_INVALID */
export function booleanFlag({ flags, name, line }: Instruction, flag: string): boolean {
  const value = flags[flag] ?? 'false';
  if (value === 'true' || value === 'false') return value === 'true';
  throw invalid(line, `${name} --${flag}=${value}, which is neither true nor false`);
}

function isInstruction(name: string): name is InstructionName {
  return Object.hasOwn(INSTRUCTIONS, name);
}

/** The JSON form `["a", "b"]`; undefined for anything else, which is the shell form. */
export function parseJson(text: string): readonly string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined;
  } catch {
    return undefined;
  }
}

function isBlank(line: string): boolean {
  return /^\s*(#|$)/.test(line);
}

/** The error for something that the Dockerfile has on this line. */
export function invalid(line: number, state: string): TkadmError {
  return new TkadmError('DOCKERFILE_INVALID', `Cannot build the Dockerfile: line ${line} has ${state}`);
}
