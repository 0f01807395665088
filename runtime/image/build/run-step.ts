import { mkdir, readdir, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TkadmError } from '../../base/errors.ts';
import { type Instruction, invalid } from '../dockerfile.ts';
import { MergedTree } from '../merged-tree.ts';
import { ifThere } from '../overlay-files.ts';
import { type LayerFile, readUpperDir } from '../pack.ts';
import type { BuildOptions } from './options.ts';
import { digestOf, type StageState, shellOf, stepEnvironment } from './state.ts';

/** Where a step's container has mounts: what is made for them does not belong to the image. */
const MOUNT_POINTS = ['/dev', '/proc', '/sys', '/etc/resolv.conf', '/etc/hosts'] as const;

/** A RUN, ready to be looked up in the cache or run. */
export interface RunStep {
  readonly content: string;
  readonly make: (directory: string) => Promise<AsyncIterable<LayerFile>>;
}

/** @throws DOCKERFILE_INVALID when there is nothing to run it in. */
export function buildRunStep(row: Instruction, state: StageState, options: BuildOptions): RunStep {
  const { config } = state;
  if (state.layers.length === 0) throw invalid(row.line, 'RUN in an image without files');
  const args = commandLine(row, state);
  const env = stepEnvironment(state);
  const cwd = config.WorkingDir || '/';
  const make = async (directory: string) => {
    const upperDir = join(directory, 'upper');
    const workDir = join(directory, 'work');
    for (const path of [upperDir, workDir]) await mkdir(path);
    const lowerDirs = options.store.lowerDirsOf(state.layers);
    const { runStep, inodes, onProgress: onOutput, signal } = options;
    const command = { lowerDirs, upperDir, workDir, args, env, cwd, user: config.User, onOutput, signal };
    const exitCode = await runStep(command);
    if (exitCode !== 0) {
      throw new TkadmError(
        'IMAGE_BUILD_STEP',
        `Cannot build line ${row.line}, RUN ${row.text}: exit code ${exitCode}`,
        { details: { line: row.line, exitCode } },
      );
    }
    await removeMountPoints(new MergedTree(lowerDirs, inodes), upperDir);
    return readUpperDir(upperDir, inodes);
  };
  return { content: digestOf(...args, ...env, config.User ?? '', cwd), make };
}

/** The JSON form as it is; the shell form with its here-documents, of which a lone one is the script. */
function commandLine(row: Instruction, { config }: StageState): readonly string[] {
  if (row.json) return row.json;
  const [first] = row.heredocs;
  const isScript = first !== undefined && /^<<-?(["']?)[\w.]+\1$/.test(row.text);
  if (isScript && first.content.startsWith('#!')) {
    throw invalid(row.line, 'a here-document that begins with "#!", which is not supported');
  }
  const documents = row.heredocs.map(({ name, content }) => `\n${content}${name}`);
  return [...shellOf(config), isScript ? first.content : `${row.text}${documents.join('')}`];
}

/** Takes out of a step's changes the empty files and directories that were made to mount on. */
async function removeMountPoints(lower: MergedTree, upperDir: string): Promise<void> {
  for (const path of MOUNT_POINTS) {
    if (await lower.lookup(path, false)) continue;
    const made = join(upperDir, path);
    const stats = await ifThere(stat(made));
    if (stats?.isFile() && stats.size === 0) await rm(made);
    else if (stats?.isDirectory() && (await readdir(made)).length === 0) await rmdir(made);
    else continue;
    const parent = dirname(path);
    if (parent === '/' || (await lower.lookup(parent, false))) continue;
    if ((await readdir(join(upperDir, parent))).length === 0) await rmdir(join(upperDir, parent));
  }
}
