import { lstat, readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TkadmError } from '../../base/errors.ts';
import { makeContainerFiles, readContainerChanges } from '../container-files.ts';
import { type Instruction, invalid } from '../dockerfile.ts';
import { MergedTree } from '../merged-tree.ts';
import { ifThere } from '../overlay-files.ts';
import type { LayerFile } from '../pack.ts';
import { proxyEnvironment } from './arguments.ts';
import type { BuildOptions } from './options.ts';
import { digestOf, type StageState, shellOf, stepEnvironment } from './state.ts';
import type { PreparedMounts } from './step-mounts.ts';

/** Where a step's container has mounts: what is made for them does not belong to the image. */
const MOUNT_POINTS = ['/dev', '/proc', '/sys', '/etc/resolv.conf', '/etc/hosts'] as const;

/** A RUN, ready to be looked up in the cache or run. */
export interface RunStep {
  readonly content: string;
  readonly make: (directory: string) => Promise<AsyncIterable<LayerFile>>;
}

/** @throws DOCKERFILE_INVALID when there is nothing to run it in. */
export function buildRunStep(
  row: Instruction,
  state: StageState,
  options: BuildOptions & { readonly mounts: PreparedMounts },
): RunStep {
  const { config } = state;
  const { mounts } = options;
  if (state.layers.length === 0) throw invalid(row.line, 'RUN in an image without files');
  const args = commandLine(row, state);
  const env = stepEnvironment(state);
  const cwd = config.WorkingDir || '/';
  const hasNetwork = parseNetwork(row);
  const make = async (directory: string) => {
    const lowerDirs = options.store.lowerDirsOf(state.layers);
    const upperDir = join(directory, 'upper');
    const files = { lowerDirs, upperDir, workDir: join(directory, 'work') };
    const { runStep, inodes, storageDriver, onProgress: onOutput, signal } = options;
    await makeContainerFiles(files, storageDriver, inodes);
    const exitCode = await runStep({
      files,
      args,
      env: [...env, ...proxyEnvironment(options.buildArgs), ...mounts.env],
      cwd,
      user: config.User,
      mounts: mounts.mounts,
      hasNetwork,
      onOutput,
      signal,
    });
    if (exitCode !== 0) {
      throw new TkadmError(
        'IMAGE_BUILD_STEP',
        `Cannot build line ${row.line}, RUN ${row.text}: exit code ${exitCode}`,
        { details: { line: row.line, exitCode } },
      );
    }
    const targets = [...MOUNT_POINTS, ...mounts.mounts.map(({ destination }) => destination)];
    await removeMountPoints(new MergedTree(lowerDirs, inodes), upperDir, targets);
    return readContainerChanges(files, inodes);
  };
  const flags = [row.flags['network'] ?? '', ...(row.lists.mount ?? []), mounts.content];
  const isPlain = flags.every((flag) => flag === '');
  const content = digestOf(...args, ...env, config.User ?? '', cwd, ...(isPlain ? [] : flags));
  return { content, make };
}

function parseNetwork(row: Instruction): boolean {
  const { network = 'default' } = row.flags;
  if (network === 'none') return false;
  if (network === 'default' || network === 'host') return true;
  throw invalid(row.line, `RUN --network=${network}, which is not supported`);
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
async function removeMountPoints(
  lower: MergedTree,
  upperDir: string,
  targets: readonly string[],
): Promise<void> {
  for (const path of targets) {
    for (let at = path; at !== '/'; at = dirname(at)) {
      const made = join(upperDir, at);
      const stats = await ifThere(lstat(made));
      if (!stats || (await lower.lookup(at, false))) break;
      if (stats.isFile() && stats.size === 0 && at === path) await rm(made);
      else if (stats.isDirectory() && (await readdir(made)).length === 0) await rmdir(made);
      else break;
    }
  }
}
