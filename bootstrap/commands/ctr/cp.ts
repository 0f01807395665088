import { mkdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, posix, resolve } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { drained } from '../../../runtime/base/drained.ts';
import { TkadmError } from '../../../runtime/base/errors.ts';
import { readTree } from '../../../runtime/ctr/tree-files.ts';
import { loadInodes } from '../../../runtime/image/inodes.ts';
import { MergedTree } from '../../../runtime/image/merged-tree.ts';
import { packFiles } from '../../../runtime/image/pack.ts';
import { unpackLayer } from '../../../runtime/image/unpack.ts';
import type { CliContext } from '../context.ts';
import { ctr } from './call.ts';

export interface CpFlags {
  readonly archive?: boolean;
  readonly followLink?: boolean;
  readonly quiet?: boolean;
}

/** One side of a copy: a path here, "-" for a tar, or a path of a container. */
interface Place {
  readonly container: string | undefined;
  readonly path: string;
}

/** `tkadm ctr cp SOURCE TARGET`, one of which is CONTAINER:PATH. */
export async function runCp(context: CliContext, flags: CpFlags, from: string, to: string): Promise<void> {
  const [source, target] = [parsePlace(from), parsePlace(to)];
  if (source.container !== undefined && target.container !== undefined) {
    throw new TkadmError('UNSUPPORTED', 'Cannot copy between containers: one side must be a path here');
  }
  if (source.container !== undefined)
    await copyOut(context, flags, { ...source, container: source.container }, target.path);
  else if (target.container !== undefined)
    await copyIn(context, flags, source.path, { ...target, container: target.container });
  else {
    throw new TkadmError('USAGE', `Cannot copy "${from}" to "${to}": neither is a container's`, {
      hint: 'tkadm ctr cp CONTAINER:PATH DIRECTORY',
    });
  }
}

/** "box:/etc" is a container's; "/a:b" and "./a:b" are paths here. */
function parsePlace(text: string): Place {
  const at = text.indexOf(':');
  const isLocal = at <= 0 || /^[./]/.test(text) || text.slice(0, at).includes('/');
  return isLocal
    ? { container: undefined, path: text }
    : { container: text.slice(0, at), path: text.slice(at + 1) };
}

type ContainerPlace = Place & { readonly container: string };

async function copyOut(
  context: CliContext,
  flags: CpFlags,
  { container, path }: ContainerPlace,
  target: string,
): Promise<void> {
  const common = {
    name: container,
    path,
    followsLink: flags.followLink ?? false,
    keepsOwner: flags.archive ?? false,
  };
  const ownName = basename(posix.normalize(path)) || '.';
  if (target === '-') {
    const onOutput = (_stream: string, bytes: Buffer) => context.writeBytes(bytes);
    await ctr(context, 'copyOut', { ...common, asName: ownName }, { onOutput });
    return;
  }
  const info = await ctr(context, 'statPath', { name: container, path });
  const place = resolve(context.cwd, target);
  const there = await stat(place).catch(() => undefined);
  const { directory, name, makesDirectory } = chooseTarget({
    source: path,
    isSourceDirectory: info?.isDirectory ?? false,
    target: target.endsWith('/') ? `${place}/` : place,
    isTargetDirectory: there?.isDirectory(),
  });
  await requireDirectory(makesDirectory ? dirname(directory) : directory);
  if (makesDirectory) await mkdir(directory);
  const tar = new PassThrough();
  const unpacked = unpackLayer(tar, await realpath(directory), { inodes: loadInodes() });
  unpacked.catch((error: Error) => tar.destroy(error));
  const onOutput = async (_stream: string, bytes: Buffer) => {
    if (!tar.destroyed && !tar.write(bytes)) await drained(tar);
  };
  try {
    await ctr(context, 'copyOut', { ...common, asName: name }, { onOutput });
  } catch (error) {
    tar.destroy();
    throw error;
  }
  tar.end();
  await unpacked;
  if (!flags.quiet) context.writeError(`Copied "${container}:${path}" to ${place}\n`);
}

/** @throws CTR_PATH */
async function requireDirectory(path: string): Promise<void> {
  if ((await stat(path).catch(() => undefined))?.isDirectory()) return;
  throw new TkadmError('CTR_PATH', `Cannot copy to "${path}": there is no such directory`);
}

async function copyIn(
  context: CliContext,
  flags: CpFlags,
  source: string,
  { container, path }: ContainerPlace,
): Promise<void> {
  if (source === '-') {
    await ctr(
      context,
      'copyIn',
      { name: container, directory: path },
      { input: Readable.from(context.stdin) },
    );
    return;
  }
  const tree = new MergedTree(['/'], loadInodes());
  const place = resolve(context.cwd, source);
  const entry = await tree.lookup(place, (flags.followLink ?? false) || /\/\.?$/.test(source));
  if (entry === undefined)
    throw new TkadmError('FILE_READ', `Cannot copy "${source}": no such file or directory`);
  const there = await ctr(context, 'statPath', { name: container, path });
  const { directory, name, makesDirectory } = chooseTarget({
    source: basename(place) === '' ? '/.' : source,
    isSourceDirectory: entry.stats.isDirectory(),
    target: path,
    isTargetDirectory: there?.isDirectory,
  });
  const options = { keepsOwner: flags.archive ?? false };
  const [into, asName] = makesDirectory ? [dirname(directory), basename(directory)] : [directory, name];
  const input = packFiles(readTree(tree, entry, asName, options));
  await ctr(context, 'copyIn', { name: container, directory: into }, { input });
  if (!flags.quiet) context.writeError(`Copied "${source}" to ${container}:${path}\n`);
}

export interface CopyRequest {
  /** "/." at its end means the files of a directory without itself. */
  readonly source: string;
  readonly isSourceDirectory: boolean;
  readonly target: string;
  /** undefined when nothing is at the target. */
  readonly isTargetDirectory: boolean | undefined;
}

export interface CopyTarget {
  /** Where the files are unpacked. */
  readonly directory: string;
  /** The name that the source gets there; "" when only what is in it is copied. */
  readonly name: string;
  /** The directory is not there yet. */
  readonly makesDirectory: boolean;
}

/** Where a copy goes, by the rules of `docker cp`. @throws CTR_PATH */
export function chooseTarget({
  source,
  isSourceDirectory,
  target,
  isTargetDirectory,
}: CopyRequest): CopyTarget {
  const isContent = isSourceDirectory && /(^|\/)\.$/.test(source);
  const place = target.replace(/(?<=.)\/+$/, '');
  if (isTargetDirectory === true) {
    return {
      directory: place,
      name: isContent ? '' : basename(posix.normalize(source)),
      makesDirectory: false,
    };
  }
  if (isTargetDirectory === false && isSourceDirectory) {
    throw new TkadmError('CTR_PATH', `Cannot copy directory "${source}": the target "${target}" is a file`);
  }
  if (isSourceDirectory) return { directory: place, name: '', makesDirectory: true };
  if (target.endsWith('/')) {
    throw new TkadmError('CTR_PATH', `Cannot copy "${source}": there is no directory "${target}"`);
  }
  return { directory: dirname(place), name: basename(place), makesDirectory: false };
}
