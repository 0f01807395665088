import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { posix } from 'node:path';
import { booleanFlag, type Instruction, invalid } from '../dockerfile.ts';
import { expandWord, splitWords } from '../dockerfile-words.ts';
import type { MergedTree } from '../merged-tree.ts';
import type { LayerFile } from '../pack.ts';
import type { AddedFile } from './add-address.ts';
import { type CopyRequest, readCopy } from './copy.ts';
import { parseIgnoreRules } from './ignore.ts';
import type { SourceTree } from './source-tree.ts';
import { type StageState, variablesOf } from './state.ts';
import { findUser } from './user.ts';

export interface CopyPlaces {
  readonly state: StageState;
  readonly source: SourceTree;
  /** The image so far. */
  readonly target: MergedTree;
  readonly now: Date;
  /** What ADD has fetched, by address. */
  readonly added?: ReadonlyMap<string, AddedFile>;
}

/** A COPY or ADD as a request, everything in it expanded. @throws DOCKERFILE_INVALID */
export async function planCopy(row: Instruction, places: CopyPlaces): Promise<CopyRequest> {
  const { state, source, target, now } = places;
  const variables = variablesOf(state);
  const expanded = copyWords(row, state);
  const last = expanded.at(-1)!;
  if (expanded.length < 2) throw invalid(row.line, `${row.name} without a target`);
  const from = expanded.slice(0, -1);
  const absolute = posix.resolve('/', state.config.WorkingDir || '/', last);
  const isDirectory = /(^|\/)\.{0,2}$/.test(last);
  const { chown } = row.flags;
  return {
    instruction: row,
    source,
    target,
    from,
    to: isDirectory ? `${absolute.replace(/\/$/, '')}/` : absolute,
    owner: chown ? await findUser(target, expandWord(chown, variables), row.line) : undefined,
    mode: parseMode(row, variables),
    unpacksArchives: row.name === 'ADD',
    variables,
    now,
    keepsParents: booleanFlag(row, 'parents'),
    isExcluded: row.lists.exclude && parseIgnoreRules(row.lists.exclude.join('\n')).isIgnored,
    added: places.added,
  };
}

/** The sources and the target of a COPY or ADD, everything in them expanded. @throws DOCKERFILE_INVALID */
export function copyWords(row: Instruction, state: StageState): readonly string[] {
  const words = row.json ?? splitWords(row.text, row.line);
  return words.map((word) => expandWord(word, variablesOf(state)));
}

function parseMode(row: Instruction, variables: ReadonlyMap<string, string>): number | undefined {
  const { chmod } = row.flags;
  if (chmod === undefined) return undefined;
  const text = expandWord(chmod, variables);
  if (!/^[0-7]{3,4}$/.test(text)) throw invalid(row.line, `--chmod=${text}, which is no octal mode`);
  return Number.parseInt(text, 8);
}

/** Digest of everything that a copy would put into its layer but times. */
export async function digestCopy(request: CopyRequest): Promise<string> {
  const hash = createHash('sha256');
  for await (const file of readCopy(request)) await hashFile(hash, file);
  return hash.digest('hex');
}

async function hashFile(hash: Hash, { name, stats, content }: LayerFile): Promise<void> {
  hash.update(`${name}\0${stats.mode}\0${stats.uid}\0${stats.gid}\0${content.kind}\0`);
  if (content.kind === 'bytes') hash.update(content.bytes);
  else if (content.kind === 'file') {
    for await (const chunk of createReadStream(content.hostPath)) hash.update(chunk as Buffer);
  } else if ('target' in content) hash.update(content.target);
}
