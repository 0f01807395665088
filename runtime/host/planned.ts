import type { FileStat, Host } from '../base/host.ts';

interface PlannedFile {
  readonly content: string;
  readonly mode: number;
}

/**
 * A machine as it would be after changes that are not made: reads see the machine, and over it the files that
 * were written here. For dry runs, whose later steps read what earlier ones would have written.
 * Commands run on the machine; only those that look may be given.
 */
export function createPlannedHost(host: Host): Host {
  const files = new Map<string, PlannedFile>();
  const directories = new Map<string, number>();
  const removed = new Set<string>();
  const isRemoved = (path: string) => ancestorsOf(path).some((parent) => removed.has(parent));
  const addParents = (path: string) => {
    for (const parent of ancestorsOf(path).slice(1)) {
      if (!directories.has(parent)) directories.set(parent, 0o755);
    }
  };
  return {
    name: host.name,
    run: (argv, options) => host.run(argv, options),
    async readFile(path) {
      const planned = files.get(path);
      if (planned) return planned.content;
      return isRemoved(path) ? undefined : host.readFile(path);
    },
    async writeFile(path, content, options = {}) {
      const text = typeof content === 'string' ? content : Buffer.from(content).toString('utf8');
      addParents(path);
      files.set(path, { content: text, mode: options.mode ?? 0o644 });
    },
    async stat(path): Promise<FileStat | undefined> {
      const file = files.get(path);
      if (file) return { kind: 'file', mode: file.mode, sizeBytes: Buffer.byteLength(file.content) };
      const real = isRemoved(path) ? undefined : await host.stat(path);
      const mode = directories.get(path);
      return real ?? (mode === undefined ? undefined : { kind: 'directory', mode, sizeBytes: 0 });
    },
    async list(path) {
      const real = isRemoved(path) ? [] : await host.list(path);
      const kept = real.filter((name) => !removed.has(`${path}/${name}`));
      const planned = [...files.keys(), ...directories.keys()]
        .filter((other) => other.startsWith(`${path}/`) && !other.slice(path.length + 1).includes('/'))
        .map((other) => other.slice(path.length + 1));
      return [...new Set([...kept, ...planned])].sort();
    },
    async mkdir(path, options = {}) {
      addParents(path);
      directories.set(path, options.mode ?? 0o755);
    },
    async remove(path) {
      for (const map of [files, directories]) {
        for (const other of map.keys()) if (other === path || other.startsWith(`${path}/`)) map.delete(other);
      }
      removed.add(path);
    },
  };
}

/** The path and each directory above it, the root left out: "/a/b" → ["/a/b", "/a"]. */
function ancestorsOf(path: string): readonly string[] {
  const parts = path.split('/').filter(Boolean);
  return parts.map((_, i) => `/${parts.slice(0, parts.length - i).join('/')}`);
}
