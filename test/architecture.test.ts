import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import t from 'tap';

const ROOT = join(import.meta.dirname ?? '.', '..');

/** Folder → the folders that it may import besides itself and runtime/base. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'runtime/base': [],
  'runtime/api': [],
  'runtime/host': [],
  'runtime/container': [],
  'runtime/image': ['runtime/container'],
  'runtime/network': ['runtime/api'],
  'runtime/ctr': ['runtime/container', 'runtime/image', 'runtime/network'],
  'runtime/cri': ['runtime/container', 'runtime/ctr', 'runtime/image', 'runtime/network'],
  'runtime/agent': ['runtime/api', 'runtime/container', 'runtime/cri', 'runtime/network'],
  'runtime/controlplane': ['runtime/api', 'pki'],
  pki: [],
  templates: ['runtime/api', 'pki'],
  preflight: ['runtime/api', 'runtime/host', 'pki'],
  bootstrap: [
    'runtime/api',
    'runtime/host',
    'runtime/image',
    'runtime/cri',
    'runtime/ctr',
    'pki',
    'templates',
    'preflight',
  ],
};

/** Tables of the daemons' flags and fields, by which `bootstrap` tells beforehand what a daemon would refuse. */
const FLAG_TABLES =
  /^runtime\/(agent\/(options|kubelet-config-fields)|network\/proxy\/config-fields|controlplane\/(apiserver|controllers|scheduler)\/flags)\.ts$/;

/** Only these may touch `process`: the command line and each program's entry point. */
const MAY_TOUCH_PROCESS = /(^bootstrap\/cli\.ts|main\.ts)$/;

const ANY_IMPORT = /(?:from|import)\s*\(?\s*'(\.[^']+)'/g;
/** Imports that are there when a file is loaded: neither `import type` nor `import()`. */
const VALUE_IMPORT = /^(?:im|ex)port (?!type )[^;]*?from '(\.[^']+)'/gm;

for (const [folder, allowed] of Object.entries(MAY_IMPORT)) {
  t.test(`${folder} imports only what it may`, (t) => {
    for (const file of sourceFiles(folder)) {
      for (const path of importedPaths(file)) {
        const target = folderOf(path);
        const isTable = folder === 'bootstrap' && FLAG_TABLES.test(path);
        const isAllowed =
          isTable || target === folder || target === 'runtime/base' || allowed.includes(target);
        t.ok(isAllowed, `${relative(ROOT, file)} → ${target}`);
      }
    }
    t.end();
  });
}

t.test('process is touched by entry points alone', (t) => {
  for (const folder of Object.keys(MAY_IMPORT)) {
    for (const file of sourceFiles(folder)) {
      const name = relative(ROOT, file);
      if (MAY_TOUCH_PROCESS.test(name)) continue;
      const use = /\bprocess\.(env|argv|exit|exitCode|stdout|stderr|stdin|on|cwd)\b/.exec(
        readFileSync(file, 'utf8'),
      );
      t.notOk(use, `${name}${use ? ` uses ${use[0]}` : ''}`);
    }
  }
  t.end();
});

t.test('no file imports itself by way of others, types apart', (t) => {
  const files = Object.keys(MAY_IMPORT).flatMap(sourceFiles);
  const imports = new Map(files.map((file) => [relative(ROOT, file), importedPaths(file, VALUE_IMPORT)]));
  const done = new Set<string>();
  const visit = (file: string, way: readonly string[]): void => {
    if (way.includes(file)) t.fail([...way.slice(way.indexOf(file)), file].join(' → '));
    else if (!done.has(file)) for (const next of imports.get(file) ?? []) visit(next, [...way, file]);
    done.add(file);
  };
  for (const file of imports.keys()) visit(file, []);
  t.ok(done.size > 500, `${done.size} files`);
  t.end();
});

function sourceFiles(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
}

function importedPaths(file: string, pattern = ANY_IMPORT): string[] {
  const specifiers = [...readFileSync(file, 'utf8').matchAll(pattern)];
  return specifiers.map((match) => relative(ROOT, join(dirname(file), match[1]!)));
}

function folderOf(path: string): string {
  const [first = '', second = ''] = path.split('/');
  return first === 'runtime' ? `runtime/${second}` : first;
}
