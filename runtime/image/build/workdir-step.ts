import { posix } from 'node:path';
import { type Instruction, invalid } from '../dockerfile.ts';
import { expandWord } from '../dockerfile-words.ts';
import type { MergedTree } from '../merged-tree.ts';
import type { LayerFile } from '../pack.ts';
import { type StageState, variablesOf } from './state.ts';

export interface DirectoryPlan {
  /** The new working directory, absolute. */
  readonly path: string;
  /** What has to be made; undefined when the directory is there. */
  readonly files: AsyncIterable<LayerFile> | undefined;
}

/** A WORKDIR over the image so far. @throws DOCKERFILE_INVALID when the path is a file's. */
export async function planDirectory(
  row: Instruction,
  state: StageState,
  tree: MergedTree,
  now: Date,
): Promise<DirectoryPlan> {
  const path = resolveDirectory(row, state);
  const present = await tree.lookup(path);
  if (present && !present.stats.isDirectory()) throw invalid(row.line, `WORKDIR "${path}", which is a file`);
  if (present || path === '/') return { path, files: undefined };
  return { path, files: directoriesTo(await tree.resolve(path), tree, now) };
}

/** The absolute path that a WORKDIR leads to. */
export function resolveDirectory(row: Instruction, state: StageState): string {
  const text = expandWord(row.text, variablesOf(state));
  return posix.resolve('/', state.config.WorkingDir || '/', text);
}

/** The directories on the way to `path` and itself: those that are there as they are, new ones 0755. */
async function* directoriesTo(path: string, tree: MergedTree, now: Date): AsyncGenerator<LayerFile> {
  const parts = path.split('/').filter(Boolean);
  for (const [index] of parts.entries()) {
    const name = parts.slice(0, index + 1).join('/');
    const stats = (await tree.lookup(name))?.stats ?? { mode: 0o755, uid: 0, gid: 0, mtime: now };
    yield { name, stats, content: { kind: 'directory' } };
  }
}
