import { createHash, type Hash } from 'node:crypto';
import { lstat, readFile, realpath, rename, rm, stat, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { PATHS } from '../base/paths.ts';
import { VERSION } from '../base/version.ts';
import {
  COMMAND_FILES,
  findCommands,
  type LayoutSources,
  layOutBundle,
  listPrograms,
} from './bundle-layout.ts';

export interface BundleSources {
  /** The Node.js binary to ship. */
  readonly nodePath: string;
  /** Folder with the command's files and `node/*.cjs`. */
  readonly distDir: string;
  /** Folders that may hold the native packages; the first that has one counts. */
  readonly packageFolders: readonly string[];
  /** Set when the command itself runs from a bundle: that one is used. */
  readonly installedDirectory?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Bundle {
  /** Digest of what it was made from; the name of its directory. */
  readonly id: string;
  readonly directory: string;
}

/** Lays the node bundle out and takes it into use. @throws BUNDLE_BUILD when a part is missing. */
export async function installBundle(host: Host, sources: BundleSources): Promise<Bundle> {
  const bundle = await stageBundle(host, sources);
  await pointCurrent(bundle.directory);
  return bundle;
}

/**
 * Assembles the node bundle under `/var/lib/tkadm/bundle/<id>` unless it is there; the one in use stays in use:
 * Node.js and two host commands with their shared libraries, the programs, and `image.json`, which describes the
 * same directory as the single layer of the embedded images.
 * @throws BUNDLE_BUILD when a part is missing.
 */
export async function stageBundle(host: Host, sources: BundleSources): Promise<Bundle> {
  const { installedDirectory } = sources;
  if (installedDirectory !== undefined) {
    const directory = await realpath(installedDirectory);
    return { id: basename(directory), directory };
  }
  const commands = await findCommands(host);
  const id = await identify(sources, commands);
  const directory = join(PATHS.bundle, id);
  if (!(await exists(join(directory, 'image.json')))) {
    const { nodePath, packageFolders } = sources;
    const packages = {
      folders: packageFolders,
      architecture: process.arch,
      modules: process.versions.modules,
    };
    await layOutBundle(directory, { nodePath, ...programFolders(sources), packages }, { host, commands });
  }
  return { id, directory };
}

/** The id of the bundle that these sources make. @throws BUNDLE_BUILD when a part is missing. */
export async function readBundleId(host: Host, sources: BundleSources): Promise<string> {
  const { installedDirectory } = sources;
  if (installedDirectory !== undefined) return basename(await realpath(installedDirectory));
  return identify(sources, await findCommands(host));
}

/** The id of the bundle in use; undefined without one. */
export async function readCurrentBundleId(): Promise<string | undefined> {
  const directory = await realpath(join(PATHS.bundle, 'current')).catch(() => undefined);
  return directory === undefined ? undefined : basename(directory);
}

/** Takes a bundle that is laid out into use; programs that run go on with theirs. @throws BUNDLE_BUILD */
export async function useBundle(id: string): Promise<void> {
  const directory = join(PATHS.bundle, id);
  if (!(await exists(join(directory, 'image.json')))) {
    throw new TkadmError('BUNDLE_BUILD', `Cannot use node bundle "${directory}": it is not there`);
  }
  await pointCurrent(directory);
}

/** True when the bundle that these sources make is there and in use. @throws BUNDLE_BUILD when a part is missing. */
export async function isBundleInstalled(host: Host, sources: BundleSources): Promise<boolean> {
  const current = await realpath(join(PATHS.bundle, 'current')).catch(() => undefined);
  if (current === undefined) return false;
  const wanted =
    sources.installedDirectory ?? join(PATHS.bundle, await identify(sources, await findCommands(host)));
  return current === (await realpath(wanted).catch(() => wanted)) && exists(join(current, 'image.json'));
}

/** Points `/var/lib/tkadm/bundle/current` at a bundle's directory by an atomic rename. */
async function pointCurrent(directory: string): Promise<void> {
  const temporary = join(dirname(directory), `.current-${basename(directory)}`);
  await rm(temporary, { force: true });
  await symlink(basename(directory), temporary);
  await rename(temporary, join(dirname(directory), 'current'));
}

/** Digest over version, the identity of the binaries and the content of the programs. */
async function identify(sources: BundleSources, commands: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(VERSION);
  for (const binary of [sources.nodePath, ...commands]) {
    const { size, mtimeMs } = await stat(await realpath(binary));
    hash.update(`${binary} ${size} ${mtimeMs}\n`);
  }
  await hashPrograms(hash, programFolders(sources));
  return hash.digest('hex').slice(0, 16);
}

type ProgramFolders = Pick<LayoutSources, 'programsDir' | 'commandDir'>;

/** Where the programs lie: in the package, or in the bundle that the command runs from. */
export function programFolders({ distDir, installedDirectory }: BundleSources): ProgramFolders {
  if (installedDirectory === undefined) return { programsDir: join(distDir, 'node'), commandDir: distDir };
  const programsDir = join(installedDirectory, 'rootfs/opt/tkadm');
  return { programsDir, commandDir: join(programsDir, 'cli') };
}

/** Adds the names and contents of the programs to a digest. @throws BUNDLE_BUILD when there are none. */
export async function hashPrograms(hash: Hash, { programsDir, commandDir }: ProgramFolders): Promise<void> {
  for (const file of await listPrograms(programsDir))
    hash.update(file).update(await readFile(join(programsDir, file)));
  for (const file of COMMAND_FILES) hash.update(await readFile(join(commandDir, file)));
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
