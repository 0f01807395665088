import { TkadmError } from '../../runtime/base/errors.ts';

/** One line of an ssh_config(5) file: a keyword and its arguments, quotes taken away. */
export interface ConfigLine {
  readonly keyword: string;
  readonly args: readonly string[];
  /** "path:number", for messages. */
  readonly place: string;
}

/**
 * Lines of a configuration file: `Keyword argument…` or `Keyword=argument`; arguments with blanks stand in quotes; a
 * `#` at the head of a line or of a word begins a comment.
 * @throws SSH_CONFIG for a line without arguments or with an open quote
 */
export function parseConfigLines(text: string, path: string): readonly ConfigLine[] {
  return text.split('\n').flatMap((line, index) => {
    const place = `${path}:${index + 1}`;
    const match = /^\s*([^\s=#"]+)(?:\s*=\s*|\s+|$)(.*)$/.exec(line.replace(/\r$/, ''));
    if (!match?.[1]) {
      if (/^\s*(#|$)/.test(line)) return [];
      throw malformed(place, `"${line.trim()}" begins with no keyword`);
    }
    const rest = match[2] ?? '';
    // A command line goes to a shell as it stands.
    const args = /command$/i.test(match[1]) && rest !== '' ? [rest.trim()] : splitWords(rest, place);
    if (args.length === 0) throw malformed(place, `"${match[1]}" has no argument`);
    return [{ keyword: match[1], args, place }];
  });
}

/** Words of a line as OpenSSH splits them: quotes of both kinds, a backslash before a quote, a backslash or a blank. */
function splitWords(text: string, place: string): readonly string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote: string | undefined;
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i] as string;
    const next = text[i + 1] ?? '';
    if (char === '\\' && (/["'\\]/.test(next) || (next === ' ' && quote === undefined))) {
      word = (word ?? '') + next;
      i += 1;
    } else if (quote !== undefined) {
      if (char === quote) quote = undefined;
      else word += char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= '';
    } else if (char === ' ' || char === '\t') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (char === '#' && word === undefined) {
      break;
    } else word = (word ?? '') + char;
  }
  if (quote !== undefined) throw malformed(place, 'a quote is not closed');
  if (word !== undefined) words.push(word);
  return words;
}

/** The error of a configuration that cannot be read. */
export function malformed(place: string, state: string): TkadmError {
  return new TkadmError('SSH_CONFIG', `Cannot read SSH configuration at "${place}": ${state}`, {
    hint: 'Mend the line, or pass --ssh-config none',
  });
}
