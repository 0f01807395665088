import { TkadmError } from '../base/errors.ts';
import { type Instruction, invalid } from './dockerfile.ts';

export type Variables = ReadonlyMap<string, string>;

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

/** Removes quotes and replaces variables outside of single quotes, as `expandVariables` does. */
export function expandWord(word: string, variables: Variables): string {
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
      const { value, length } = expandAt(word, i, variables);
      result += value;
      i += length - 1;
    } else result += char;
  }
  return result;
}

/** Replaces $NAME, ${NAME}, ${NAME:-default}, ${NAME:+value}, ${NAME:?message} and nothing else; "\$" is a dollar sign. */
export function expandVariables(text: string, variables: Variables): string {
  let result = '';
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i]!;
    if (char === '\\' && text[i + 1] === '$') {
      result += '$';
      i += 1;
    } else if (char === '$') {
      const { value, length } = expandAt(text, i, variables);
      result += value;
      i += length - 1;
    } else result += char;
  }
  return result;
}

const VARIABLE = /\$(?:\{([A-Za-z_]\w*)(?:(:?)([-+?])([^}]*))?\}|([A-Za-z_]\w*))/y;

/** The value of the variable whose "$" is at `start`; a lone "$" stands for itself. */
function expandAt(
  text: string,
  start: number,
  variables: Variables,
): { readonly value: string; readonly length: number } {
  VARIABLE.lastIndex = start;
  const match = VARIABLE.exec(text);
  if (!match && text[start + 1] === '{') throw unsupported(text.slice(start));
  if (!match) return { value: '$', length: 1 };
  const [whole, braced, colon, operator, alternative = '', bare] = match;
  const found = variables.get(braced ?? bare ?? '');
  const isSet = found !== undefined && (colon !== ':' || found !== '');
  const other = () => expandWord(alternative, variables);
  if (operator === '?' && !isSet) {
    const reason = other() || 'it is not set';
    throw new TkadmError(
      'DOCKERFILE_INVALID',
      `Cannot use variable "${braced}" of the Dockerfile: ${reason}`,
    );
  }
  const value =
    operator === '-' && !isSet ? other() : operator === '+' ? (isSet ? other() : '') : (found ?? '');
  return { value, length: whole.length };
}

function unsupported(text: string): TkadmError {
  const expression = /^[^}]*\}?/.exec(text)?.[0] ?? text;
  return new TkadmError(
    'DOCKERFILE_INVALID',
    `Cannot use "${expression}" of the Dockerfile: of the forms with braces there are "-", "+" and "?"`,
  );
}

/** `NAME=value NAME2="a b"` or the old form `NAME value`. @throws DOCKERFILE_INVALID */
export function parseAssignments(
  instruction: Instruction,
  variables: Variables,
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
