import { posix } from 'node:path';

/** What `.dockerignore` says about the build context. */
export interface IgnoreRules {
  /** True when the last rule that matches the path, or a directory above it, excludes it. */
  isIgnored(path: string): boolean;
  /** True when there are rules "!PATTERN", so that something inside an excluded directory may count. */
  readonly hasExceptions: boolean;
}

/** Parses the text of a `.dockerignore` file (Dockerfile reference, ".dockerignore file"). */
export function parseIgnoreRules(text: string): IgnoreRules {
  const rules = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const isException = line.startsWith('!');
      const pattern = posix.normalize(line.slice(isException ? 1 : 0).trim()).replace(/^\/|\/$/g, '');
      return { isException, expression: globExpression(pattern) };
    });
  return {
    hasExceptions: rules.some((rule) => rule.isException),
    isIgnored(path) {
      const parts = path.split('/').filter(Boolean);
      const prefixes = parts.map((_, index) => parts.slice(0, index + 1).join('/'));
      const last = rules.findLast(({ expression }) => prefixes.some((prefix) => expression.test(prefix)));
      return last !== undefined && !last.isException;
    },
  };
}

const GLOB_TOKENS: readonly (readonly [RegExp, string])[] = [
  [/^\*\*\//, '(?:.*/)?'],
  [/^\*\*/, '.*'],
  [/^\*/, '[^/]*'],
  [/^\?/, '[^/]'],
];

/** Go's filepath.Match with `**` for any number of directories, as a regular expression. */
export function globExpression(pattern: string): RegExp {
  let body = '';
  for (let rest = pattern; rest !== ''; ) {
    const token = GLOB_TOKENS.find(([expression]) => expression.test(rest));
    const set = /^\[(\^?)((?:\\.|[^\]\\])+)\]/.exec(rest);
    if (token) {
      body += token[1];
      rest = rest.replace(token[0], '');
    } else if (set) {
      body += `[${set[1]}${set[2]}]`;
      rest = rest.slice(set[0].length);
    } else {
      const literal = /^\\./.test(rest) ? rest.slice(0, 2) : rest.slice(0, 1);
      body += literal.at(-1)!.replace(/[.*+?^${}()|[\]\\/]/, '\\$&');
      rest = rest.slice(literal.length);
    }
  }
  return new RegExp(`^${body}$`);
}
