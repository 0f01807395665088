import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** What an interrupted writeFileAtomic has left beside files: "admin.conf" and "admin.conf.0123456789ab.tmp". */
export async function listTornFiles(paths: readonly string[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const directory of new Set(paths.map((path) => dirname(path)))) {
    const names = new Set(paths.filter((path) => dirname(path) === directory).map((path) => basename(path)));
    for (const name of await readdir(directory).catch(() => [])) {
      const target = /^(.+)\.[0-9a-f]{12}\.tmp$/.exec(name)?.[1];
      if (target !== undefined && names.has(target)) found.push(join(directory, name));
    }
  }
  return found;
}
