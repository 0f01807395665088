import { readdirSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { matchesPattern } from './known-hosts.ts';

/** Files that an `Include` pattern names, in order; a relative one begins in the folder of the configuration. */
export function findIncluded(pattern: string, folder: string, home: string): readonly string[] {
  const path = pattern.startsWith('~/') ? join(home, pattern.slice(2)) : pattern;
  return expand(isAbsolute(path) ? path : join(folder, path));
}

function expand(path: string): readonly string[] {
  const folder = dirname(path);
  if (folder === path) return [path];
  const name = path.slice(folder === '/' ? 1 : folder.length + 1);
  const folders = /[*?]/.test(folder) ? expand(folder) : [folder];
  if (!/[*?]/.test(name)) return folders.map((each) => join(each, name));
  return folders.flatMap((each) =>
    namesIn(each)
      .filter((entry) => matchesPattern(name, entry) && (!entry.startsWith('.') || name.startsWith('.')))
      .map((entry) => join(each, entry)),
  );
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
