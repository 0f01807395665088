import { posix } from 'node:path';
import { parseGlob } from './glob.ts';

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
      return { isException, glob: parseGlob(pattern) };
    });
  return {
    hasExceptions: rules.some((rule) => rule.isException),
    isIgnored(path) {
      const parts = path.split('/').filter(Boolean);
      const prefixes = parts.map((_, index) => parts.slice(0, index + 1).join('/'));
      const last = rules.findLast(({ glob }) => prefixes.some((prefix) => glob.test(prefix)));
      return last !== undefined && !last.isException;
    },
  };
}
