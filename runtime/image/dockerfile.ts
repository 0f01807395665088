import { TkadmError } from '../base/errors.ts';

/** One instruction with its line; `flags` are the `--name=value` words before the arguments. */
export interface Instruction {
  readonly line: number;
  readonly name: string;
  readonly flags: Readonly<Record<string, string>>;
  /** The arguments as written, continuation lines joined. */
  readonly text: string;
  /** The arguments of the JSON form `["a", "b"]`; undefined in the shell form. */
  readonly json: readonly string[] | undefined;
  /** Here-documents `<<EOF` by name, in order. */
  readonly heredocs: readonly { readonly name: string; readonly content: string }[];
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

const INSTRUCTIONS = new Set([
  'ADD',
  'ARG',
  'CMD',
  'COPY',
  'ENTRYPOINT',
  'ENV',
  'EXPOSE',
  'FROM',
  'HEALTHCHECK',
  'LABEL',
  'MAINTAINER',
  'ONBUILD',
  'RUN',
  'SHELL',
  'STOPSIGNAL',
  'USER',
  'VOLUME',
  'WORKDIR',
]);

/**
 * Parses a Dockerfile (Dockerfile reference: format, parser directive `escape`, continuation lines,
 * comments, JSON forms, here-documents).
 * @throws DOCKERFILE_INVALID with the line.
 */
export function parseDockerfile(text: string): Dockerfile {
  const instructions = splitInstructions(text.split(/\r?\n/));
  const firstFrom = instructions.findIndex((row) => row.name === 'FROM');
  if (firstFrom < 0) throw invalid(1, 'no FROM instruction');
  const globalArgs = instructions.slice(0, firstFrom);
  const stray = globalArgs.find((row) => row.name !== 'ARG');
  if (stray) throw invalid(stray.line, `${stray.name} before the first FROM`);
  const stages: {
    index: number;
    name: string | undefined;
    from: Instruction;
    instructions: Instruction[];
  }[] = [];
  for (const row of instructions.slice(firstFrom)) {
    if (row.name === 'FROM') {
      const name = /\s+as\s+(\S+)\s*$/i.exec(row.text)?.[1]?.toLowerCase();
      stages.push({ index: stages.length, name, from: row, instructions: [] });
    } else stages.at(-1)!.instructions.push(row);
  }
  return { globalArgs, stages };
}

function splitInstructions(lines: readonly string[]): Instruction[] {
  const escapeChar = /^#\s*escape\s*=\s*(.)/i.exec(lines[0] ?? '')?.[1] ?? '\\';
  const result: Instruction[] = [];
  for (let i = 0; i < lines.length; i += 1) {
    if (isBlank(lines[i]!)) continue;
    const first = i;
    let text = '';
    for (;;) {
      const line = lines[i] ?? '';
      const trimmed = line.trimEnd();
      const continues = trimmed.endsWith(escapeChar);
      text += continues ? trimmed.slice(0, -1) : line;
      if (!continues) break;
      i += 1;
      while (i < lines.length && isBlank(lines[i]!)) i += 1;
      if (i >= lines.length) break;
    }
    const names = [...text.matchAll(/<<-?\s*(["']?)([A-Za-z_]\w*)\1/g)];
    const heredocs: { name: string; content: string }[] = [];
    const takesHeredoc = /^\s*(RUN|COPY|ADD)\s/i.test(text);
    for (const match of takesHeredoc ? names : []) {
      const stripsTabs = match[0].startsWith('<<-');
      const content: string[] = [];
      for (i += 1; i < lines.length; i += 1) {
        const line = stripsTabs ? lines[i]!.replace(/^\t+/, '') : lines[i]!;
        if (line === match[2]) break;
        content.push(line);
      }
      if (i >= lines.length) throw invalid(first + 1, `a here-document "${match[2]}" that does not end`);
      heredocs.push({ name: match[2]!, content: content.map((line) => `${line}\n`).join('') });
    }
    result.push(parseInstruction(text.trim(), first + 1, heredocs));
  }
  return result;
}

function parseInstruction(text: string, line: number, heredocs: Instruction['heredocs']): Instruction {
  const [word = ''] = text.split(/\s/, 1);
  const name = word.toUpperCase();
  if (!INSTRUCTIONS.has(name)) throw invalid(line, `an unknown instruction "${word}"`);
  let rest = text.slice(word.length).trim();
  const flags: Record<string, string> = {};
  for (
    let match = /^--([a-z-]+)(?:=(\S*))?(?:\s+|$)/.exec(rest);
    match;
    match = /^--([a-z-]+)(?:=(\S*))?(?:\s+|$)/.exec(rest)
  ) {
    flags[match[1]!] = match[2] ?? 'true';
    rest = rest.slice(match[0].length);
  }
  if (rest === '' && name !== 'HEALTHCHECK') throw invalid(line, `${name} without arguments`);
  return { line, name, flags, text: rest, json: parseJson(rest), heredocs };
}

function parseJson(text: string): readonly string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Splits words at white space outside of quotes; quotes stay for `expandWord`.
 * @throws DOCKERFILE_INVALID when a quote does not end.
 */
export function splitWords(text: string, line: number): readonly string[] {
  const words: string[] = [];
  let word = '';
  let quote = '';
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i]!;
    if (char === '\\' && quote !== "'" && i + 1 < text.length) {
      word += char + text[i + 1];
      i += 1;
    } else if (quote) {
      word += char;
      if (char === quote) quote = '';
    } else if (/\s/.test(char)) {
      if (word) words.push(word);
      word = '';
    } else {
      if (char === '"' || char === "'") quote = char;
      word += char;
    }
  }
  if (quote) throw invalid(line, `a quote ${quote} that does not end`);
  if (word) words.push(word);
  return words;
}

/** Removes quotes and replaces $NAME, ${NAME}, ${NAME:-default}, ${NAME:+value} outside of single quotes. */
export function expandWord(word: string, variables: ReadonlyMap<string, string>): string {
  let result = '';
  let quote = '';
  for (let i = 0; i < word.length; i += 1) {
    const char = word[i]!;
    if (char === '\\' && quote !== "'") {
      const next = word[i + 1] ?? '';
      result += quote === '"' && !/["\\$]/.test(next) ? `\\${next}` : next;
      i += 1;
    } else if (char === quote) quote = '';
    else if (!quote && (char === '"' || char === "'")) quote = char;
    else if (char === '$' && quote !== "'") {
      const match = /^\$(?:\{([A-Za-z_]\w*)(?::?([-+])([^}]*))?\}|([A-Za-z_]\w*))/.exec(word.slice(i));
      if (!match) {
        result += char;
        continue;
      }
      result += substitute(match, variables);
      i += match[0].length - 1;
    } else result += char;
  }
  return result;
}

function substitute(match: RegExpExecArray, variables: ReadonlyMap<string, string>): string {
  const value = variables.get(match[1] ?? match[4] ?? '') ?? '';
  if (match[2] === '-') return value === '' ? expandWord(match[3] ?? '', variables) : value;
  if (match[2] === '+') return value === '' ? '' : expandWord(match[3] ?? '', variables);
  return value;
}

/** `NAME=value NAME2="a b"` or the old form `NAME value`. @throws DOCKERFILE_INVALID */
export function parseAssignments(
  instruction: Instruction,
  variables: ReadonlyMap<string, string>,
): readonly (readonly [string, string])[] {
  const words = splitWords(instruction.text, instruction.line);
  if (words[0] && !words[0].includes('=')) {
    const [name, ...rest] = words;
    if (rest.length === 0) throw invalid(instruction.line, `${instruction.name} "${name}" without a value`);
    return [[name!, expandWord(instruction.text.slice(name!.length).trim(), variables)]];
  }
  return words.map((word) => {
    const at = word.indexOf('=');
    if (at < 1) throw invalid(instruction.line, `${instruction.name} "${word}" without "="`);
    return [expandWord(word.slice(0, at), variables), expandWord(word.slice(at + 1), variables)] as const;
  });
}

function isBlank(line: string): boolean {
  return /^\s*(#|$)/.test(line);
}

/** The error for something that the Dockerfile has on this line. */
export function invalid(line: number, state: string): TkadmError {
  return new TkadmError('DOCKERFILE_INVALID', `Cannot build the Dockerfile: line ${line} has ${state}`);
}
