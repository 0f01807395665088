import { readlink } from 'node:fs/promises';
import { basename, posix } from 'node:path';
import { type Instruction, invalid } from '../dockerfile.ts';
import { expandVariables, type Variables } from '../dockerfile-words.ts';
import type { MergedEntry, MergedTree } from '../merged-tree.ts';
import type { LayerFile } from '../pack.ts';
import type { AddedFile } from './add-address.ts';
import { detectArchive, readArchive } from './add-archive.ts';
import type { SourceTree } from './source-tree.ts';

export interface CopyRequest {
  readonly instruction: Instruction;
  readonly source: SourceTree;
  /** The image so far; undefined for nothing. */
  readonly target: MergedTree | undefined;
  /** Patterns, here-document names or addresses. */
  readonly from: readonly string[];
  /** Absolute path inside the image, "/" at the end for a directory. */
  readonly to: string;
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  readonly mode: number | undefined;
  /** ADD: tar archives are unpacked. */
  readonly unpacksArchives: boolean;
  /** For here-documents. */
  readonly variables: Variables;
  readonly now: Date;
  /** COPY --parents: the directories of a source's path are made below the target. */
  readonly keepsParents?: boolean;
  /** What --exclude leaves out, asked with the path below a source directory, or a source file's name. */
  readonly isExcluded?: ((path: string) => boolean) | undefined;
  /** The files of addresses that ADD has fetched. */
  readonly added?: ReadonlyMap<string, AddedFile> | undefined;
}

/** One source of a COPY: a path of the source tree, or a here-document's text. */
type Source =
  | { readonly kind: 'path'; readonly path: string; readonly parents: string }
  | { readonly kind: 'added'; readonly file: AddedFile }
  | { readonly kind: 'heredoc'; readonly name: string; readonly content: string };

/**
 * The files of a COPY or ADD as they go into a layer, the directories on the way first.
 * @throws DOCKERFILE_INVALID for a source that is not there or cannot be put where it should.
 */
export async function* readCopy(request: CopyRequest): AsyncGenerator<LayerFile> {
  const { instruction, target, to } = request;
  const sources = await findSources(request);
  const existing = await target?.lookup(to);
  if (sources.length > 1 && !to.endsWith('/') && !existing?.stats.isDirectory()) {
    throw invalid(instruction.line, 'several sources, but a target that is no directory: end it with "/"');
  }
  const copier = new Copier(request, (await target?.resolve(to)) ?? posix.normalize(to));
  const isDirectory = to.endsWith('/') || existing?.stats.isDirectory() === true;
  for (const source of sources) yield* copier.copy(source, isDirectory);
}

async function findSources(request: CopyRequest): Promise<readonly Source[]> {
  const { instruction, source, variables } = request;
  const found: Source[] = [];
  for (const pattern of request.from) {
    const name = /^<<-?(.+)$/.exec(pattern)?.[1];
    const heredoc = instruction.heredocs.find((row) => row.name === name);
    if (heredoc) {
      const content = heredoc.isQuoted ? heredoc.content : expandVariables(heredoc.content, variables);
      found.push({ kind: 'heredoc', name: heredoc.name, content });
      continue;
    }
    const file = request.added?.get(pattern);
    if (file) {
      found.push({ kind: 'added', file });
      continue;
    }
    const paths = await source.glob(pattern);
    const kept: string[] = [];
    for (const path of paths) {
      const isDirectory = (await source.lookup(path, true))?.stats.isDirectory();
      if (isDirectory || !request.isExcluded?.(posix.basename(path))) kept.push(path);
    }
    if (paths.length === 0) throw invalid(instruction.line, `"${pattern}", which is not there to be copied`);
    found.push(...kept.map((path) => ({ kind: 'path', path, parents: parentsOf(path, request) }) as const));
  }
  return found;
}

/** With --parents, where below the target a source goes; a directory's own name is a part of it. */
function parentsOf(path: string, { keepsParents, from }: CopyRequest): string {
  if (!keepsParents) return '';
  // "a/./b" keeps what is behind the dot.
  const pivot = from
    .map((pattern) => posix.normalize(`/${pattern.split('/./')[0]}`))
    .find((base, index) => {
      return from[index]!.includes('/./') && path.startsWith(`${base === '/' ? '' : base}/`);
    });
  return posix.dirname(pivot === undefined ? path : path.slice(pivot === '/' ? 0 : pivot.length));
}

/** Copies below one target; directories on the way go into the layer once. */
class Copier {
  readonly #request: CopyRequest;
  /** Absolute, links followed. */
  readonly #base: string;
  readonly #made = new Set<string>();

  constructor(request: CopyRequest, base: string) {
    this.#request = request;
    this.#base = base;
  }

  async *copy(source: Source, isDirectory: boolean): AsyncGenerator<LayerFile> {
    const { instruction, unpacksArchives } = this.#request;
    const place = (name: string) => (isDirectory ? posix.join(this.#base, name) : this.#base);
    if (source.kind === 'added')
      return yield* this.#copyAdded(source.file, place(source.file.name), isDirectory);
    if (source.kind === 'heredoc') {
      yield* this.#parents(place(source.name));
      const content = { kind: 'bytes', bytes: Buffer.from(source.content) } as const;
      yield { name: place(source.name).slice(1), stats: this.#stamp(this.#request.mode ?? 0o644), content };
      return;
    }
    const entry = await this.#request.source.lookup(source.path, true);
    if (!entry) throw invalid(instruction.line, `"${source.path}", which is a link to nothing`);
    const below = posix.join(this.#base, source.parents);
    if (entry.stats.isDirectory()) {
      const name = this.#request.keepsParents && source.path !== '/' ? posix.basename(source.path) : '';
      return yield* this.#copyDirectory(entry, posix.join(below, name), '');
    }
    const archive =
      unpacksArchives && entry.stats.isFile() ? await detectArchive(entry.hostPaths[0]!) : undefined;
    if (archive === undefined) {
      const inside = this.#request.keepsParents
        ? posix.join(below, basename(source.path))
        : place(basename(source.path));
      yield* this.#parents(inside);
      yield await this.#copyFile(entry, inside);
    } else if (archive === 'tar' || archive === 'tar+gzip' || archive === 'tar+zstd') {
      yield* this.#parents(posix.join(this.#base, 'x'));
      for await (const file of readArchive(entry.hostPaths[0]!, this.#base)) {
        yield* this.#parents(`/${file.name}`);
        if (file.content.kind === 'directory') this.#made.add(`/${file.name}`);
        yield file;
      }
    } else {
      throw invalid(
        instruction.line,
        `ADD "${source.path}": ${archive} compression is not supported, COPY is`,
      );
    }
  }

  /** A file of an address: root's alone, unless --chmod says otherwise (Dockerfile reference, "ADD"). */
  async *#copyAdded(file: AddedFile, inside: string, isDirectory: boolean): AsyncGenerator<LayerFile> {
    const { instruction, mode = 0o600 } = this.#request;
    if (isDirectory && file.name === '') {
      throw invalid(
        instruction.line,
        'ADD of an address without a file name: name the file, not its directory',
      );
    }
    yield* this.#parents(inside);
    const content = { kind: 'file', hostPath: file.hostPath, sizeBytes: file.sizeBytes } as const;
    yield { name: inside.slice(1), stats: { ...this.#stamp(mode), mtime: file.mtime }, content };
  }

  /** `path` is the directory's below its source. */
  async *#copyDirectory(directory: MergedEntry, to: string, path: string): AsyncGenerator<LayerFile> {
    yield* this.#parents(posix.join(to, 'x'));
    for (const [name, entry] of await this.#request.source.list(directory)) {
      const inSource = posix.join(path, name);
      if (this.#request.isExcluded?.(inSource)) continue;
      const inside = posix.join(to, name);
      if (!entry.stats.isDirectory()) {
        yield await this.#copyFile(entry, inside);
        continue;
      }
      this.#made.add(inside);
      yield await this.#copyFile(entry, inside);
      yield* this.#copyDirectory(entry, inside, inSource);
    }
  }

  /** The directories above a path, with the attributes that they have in the image or new ones. */
  async *#parents(path: string): AsyncGenerator<LayerFile> {
    const parts = posix.dirname(path).split('/').filter(Boolean);
    for (const [index] of parts.entries()) {
      const directory = `/${parts.slice(0, index + 1).join('/')}`;
      if (this.#made.has(directory)) continue;
      this.#made.add(directory);
      const present = await this.#request.target?.lookup(directory, false);
      if (present && !present.stats.isDirectory()) {
        throw invalid(this.#request.instruction.line, `the target "${directory}", which is no directory`);
      }
      const content = { kind: 'directory' } as const;
      yield { name: directory.slice(1), stats: present?.stats ?? this.#stamp(0o755), content };
    }
  }

  async #copyFile(entry: MergedEntry, inside: string): Promise<LayerFile> {
    const { stats, hostPaths, path } = entry;
    const { instruction, mode, owner = { uid: 0, gid: 0 }, target } = this.#request;
    const present = await target?.lookup(inside, false);
    if (present && present.stats.isDirectory() !== stats.isDirectory()) {
      throw invalid(instruction.line, `"${path}" for "${inside}", of which only one is a directory`);
    }
    const isLink = stats.isSymbolicLink();
    const common = {
      name: inside.slice(1),
      stats: { mode: isLink ? stats.mode : (mode ?? stats.mode), ...owner, mtime: stats.mtime },
    };
    const [hostPath = ''] = hostPaths;
    if (stats.isDirectory()) return { ...common, content: { kind: 'directory' } };
    if (isLink) return { ...common, content: { kind: 'symlink', target: await readlink(hostPath) } };
    if (stats.isFile()) return { ...common, content: { kind: 'file', hostPath, sizeBytes: stats.size } };
    throw invalid(instruction.line, `"${path}", which is no file, directory or link`);
  }

  #stamp(mode: number): LayerFile['stats'] {
    const { owner = { uid: 0, gid: 0 }, now } = this.#request;
    return { mode, ...owner, mtime: now };
  }
}
