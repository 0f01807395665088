import { createReadStream } from 'node:fs';
import { lstat, open, readdir, readFile, readlink } from 'node:fs/promises';
import { basename, join, posix } from 'node:path';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { type Instruction, invalid } from '../dockerfile.ts';
import type { MergedEntry, MergedTree } from '../merged-tree.ts';
import { ifThere } from '../overlay-files.ts';
import type { LayerFile } from '../pack.ts';

/** A tree that is copied from: the build context, a stage or an image. */
export interface SourceTree {
  /** Entries that a pattern names, relative to the root, sorted. */
  glob(pattern: string): Promise<readonly string[]>;
  lookup(path: string): Promise<MergedEntry | undefined>;
  list(entry: MergedEntry): Promise<readonly string[]>;
}

export interface CopyRequest {
  readonly instruction: Instruction;
  readonly source: SourceTree;
  readonly target: MergedTree;
  /** Patterns or here-document names. */
  readonly from: readonly string[];
  /** Absolute path inside the image, "/" at the end for a directory. */
  readonly to: string;
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  readonly mode: number | undefined;
  /** ADD: tar archives are unpacked. */
  readonly unpacksArchives: boolean;
  readonly now: Date;
}

/** The files of a COPY or ADD as they go into a layer, missing parent directories first. */
export async function* readCopy(request: CopyRequest): AsyncGenerator<LayerFile> {
  const { instruction, source, target, from, to } = request;
  const heredocs = new Map(instruction.heredocs.map((row) => [row.name, row.content]));
  const matched: { readonly path: string; readonly heredoc?: string }[] = [];
  for (const pattern of from) {
    const name = /^<<-?["']?(\w+)["']?$/.exec(pattern)?.[1];
    if (name !== undefined) matched.push({ path: name, heredoc: heredocs.get(name) ?? '' });
    else {
      const paths = await source.glob(pattern);
      if (paths.length === 0)
        throw invalid(instruction.line, `"${pattern}", which is not in the build context`);
      matched.push(...paths.map((path) => ({ path })));
    }
  }
  const existing = await target.lookup(to);
  const isDirectory = to.endsWith('/') || matched.length > 1 || existing?.stats.isDirectory() === true;
  if (matched.length > 1 && !to.endsWith('/'))
    throw invalid(instruction.line, 'several sources, but a target without a final "/"');
  const base = existing?.path ?? to.replace(/\/+$/, '');
  const parents = new Parents(request);
  for (const { path, heredoc } of matched) {
    const inside = isDirectory ? posix.join(base, basename(path)) : base;
    if (heredoc !== undefined) {
      yield* parents.of(inside);
      yield {
        name: inside.slice(1),
        stats: stampStats(request, 0o644),
        content: { kind: 'bytes', bytes: Buffer.from(heredoc) },
      };
      continue;
    }
    const entry = (await source.lookup(path))!;
    if (entry.stats.isDirectory()) {
      yield* parents.of(posix.join(base, 'x'));
      yield* copyDirectory(request, entry, base);
    } else if (request.unpacksArchives && entry.stats.isFile() && (await isArchive(entry.hostPaths[0]!))) {
      yield* parents.of(posix.join(base, 'x'));
      yield* unpackInto(entry.hostPaths[0]!, base);
    } else {
      yield* parents.of(inside);
      yield await copyEntry(request, entry, inside);
    }
  }
}

/** Directories on the way that the image does not have, once each. */
class Parents {
  readonly #request: CopyRequest;
  readonly #made = new Set<string>();

  constructor(request: CopyRequest) {
    this.#request = request;
  }

  async *of(path: string): AsyncGenerator<LayerFile> {
    const parts = posix.dirname(path).split('/').filter(Boolean);
    for (let depth = 1; depth <= parts.length; depth += 1) {
      const directory = `/${parts.slice(0, depth).join('/')}`;
      if (this.#made.has(directory)) continue;
      this.#made.add(directory);
      if (await this.#request.target.lookup(directory)) continue;
      yield {
        name: directory.slice(1),
        stats: stampStats(this.#request, 0o755),
        content: { kind: 'directory' },
      };
    }
  }
}

async function* copyDirectory(
  request: CopyRequest,
  directory: MergedEntry,
  to: string,
): AsyncGenerator<LayerFile> {
  for (const name of await request.source.list(directory)) {
    const entry = await request.source.lookup(posix.join(directory.path, name));
    if (!entry) continue;
    const inside = posix.join(to, name);
    yield await copyEntry(request, entry, inside);
    if (entry.stats.isDirectory()) yield* copyDirectory(request, entry, inside);
  }
}

async function copyEntry(request: CopyRequest, entry: MergedEntry, inside: string): Promise<LayerFile> {
  const { stats, hostPaths } = entry;
  const [hostPath = ''] = hostPaths;
  const owner = request.owner ?? { uid: 0, gid: 0 };
  const mode = request.mode !== undefined && !stats.isSymbolicLink() ? request.mode : stats.mode;
  const common = {
    name: inside.slice(1),
    stats: { mode, uid: owner.uid, gid: owner.gid, mtime: stats.mtime },
  };
  if (stats.isDirectory()) return { ...common, content: { kind: 'directory' } };
  if (stats.isSymbolicLink())
    return { ...common, content: { kind: 'symlink', target: await readlink(hostPath) } };
  if (stats.isFile()) return { ...common, content: { kind: 'file', hostPath, sizeBytes: stats.size } };
  throw invalid(request.instruction.line, `"${entry.path}", which is no file, directory or link`);
}

function stampStats(request: CopyRequest, mode: number): LayerFile['stats'] {
  const owner = request.owner ?? { uid: 0, gid: 0 };
  return { mode: request.mode ?? mode, uid: owner.uid, gid: owner.gid, mtime: request.now };
}

async function isArchive(path: string): Promise<boolean> {
  const file = await open(path, 'r');
  try {
    const head = Buffer.alloc(512);
    await file.read(head, 0, 512, 0);
    return isGzip(head)
      ? /\.(tar\.gz|tgz)$/.test(path)
      : head.subarray(257, 262).toString('latin1') === 'ustar';
  } finally {
    await file.close();
  }
}

function isGzip(head: Buffer): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

async function* unpackInto(archive: string, base: string): AsyncGenerator<LayerFile> {
  const entries = extract();
  const raw = createReadStream(archive);
  (/gz$/.test(archive) ? raw.pipe(createGunzip()) : raw).pipe(entries);
  for await (const entry of entries) {
    const { name, type, mode = 0o644, uid = 0, gid = 0, mtime = new Date(0), linkname } = entry.header;
    const inside = posix.join(base, posix.normalize(`/${name}`)).slice(1);
    const stats = { mode, uid, gid, mtime };
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    if (type === 'directory')
      yield { name: inside.replace(/\/$/, ''), stats, content: { kind: 'directory' } };
    else if (type === 'symlink')
      yield { name: inside, stats, content: { kind: 'symlink', target: linkname ?? '' } };
    else if (type === 'link') {
      yield {
        name: inside,
        stats,
        content: { kind: 'link', target: posix.join(base, posix.normalize(`/${linkname}`)).slice(1) },
      };
    } else if (type === 'file')
      yield { name: inside, stats, content: { kind: 'bytes', bytes: Buffer.concat(chunks) } };
  }
}

/** The build context on disk, without what `.dockerignore` excludes. Links never lead out of it. */
export async function openContext(root: string): Promise<SourceTree> {
  const ignore = parseIgnore(await readFile(join(root, '.dockerignore'), 'utf8').catch(() => ''));
  const lookup = async (path: string): Promise<MergedEntry | undefined> => {
    const clean = posix.normalize(`/${path}`).slice(1).replace(/\/$/, '');
    if (clean !== '' && ignore(clean)) return undefined;
    const parts = clean.split('/');
    for (let depth = 1; depth < parts.length; depth += 1) {
      const parent = await ifThere(lstat(join(root, ...parts.slice(0, depth))));
      if (parent?.isSymbolicLink()) return undefined;
    }
    const hostPath = join(root, clean);
    const stats = await ifThere(lstat(hostPath));
    return stats && { path: `/${clean}`, stats, hostPaths: [hostPath] };
  };
  const list = async (entry: MergedEntry) => {
    const names = (await readdir(entry.hostPaths[0]!)).sort();
    return names.filter((name) => !ignore(posix.join(entry.path, name).slice(1)));
  };
  return { lookup, list, glob: (pattern) => glob({ lookup, list }, pattern) };
}

/** A stage or an image as a source. */
export function treeAsSource(tree: MergedTree): SourceTree {
  const source = {
    lookup: (path: string) => tree.lookup(path, false),
    list: (entry: MergedEntry) => tree.list(entry),
  };
  return { ...source, glob: (pattern) => glob(source, pattern) };
}

async function glob(tree: Pick<SourceTree, 'lookup' | 'list'>, pattern: string): Promise<readonly string[]> {
  const clean = posix.normalize(`/${pattern}`).replace(/\/$/, '') || '/';
  if (!/[*?[]/.test(clean)) return (await tree.lookup(clean)) ? [clean] : [];
  let found = [''];
  for (const part of clean.split('/').filter(Boolean)) {
    const expression = globExpression(part);
    const next: string[] = [];
    for (const path of found) {
      const entry = await tree.lookup(path || '/');
      if (!entry?.stats.isDirectory()) continue;
      for (const name of await tree.list(entry)) if (expression.test(name)) next.push(`${path}/${name}`);
    }
    found = next;
  }
  return found;
}

/** Go's filepath.Match, for one path component; `**` as .dockerignore has it. */
function globExpression(pattern: string): RegExp {
  const body = pattern
    .replace(/[.+^${}()|\\]/g, '\\$&')
    .replace(/\*\*\/?/g, '\u0000')
    .replace(/\*/g, '[^/]*')
    .replace(/\?/g, '[^/]')
    .replaceAll('\u0000', '.*');
  return new RegExp(`^${body}$`);
}

/** .dockerignore: the last rule that matches decides; a rule for a directory holds below it. */
function parseIgnore(text: string): (path: string) => boolean {
  const rules = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const isNegated = line.startsWith('!');
      const pattern = posix.normalize(line.slice(isNegated ? 1 : 0)).replace(/^\/|\/$/g, '');
      return { isNegated, expression: globExpression(pattern) };
    });
  return (path) => {
    const parts = path.split('/');
    const prefixes = parts.map((_, index) => parts.slice(0, index + 1).join('/'));
    let isIgnored = false;
    for (const { isNegated, expression } of rules) {
      if (prefixes.some((prefix) => expression.test(prefix))) isIgnored = !isNegated;
    }
    return isIgnored;
  };
}
