import { chmod, lchown, lstat, mkdir } from 'node:fs/promises';
import { dirname, join, posix } from 'node:path';
import type { Readable } from 'node:stream';
import { TkadmError } from '../base/errors.ts';
import { directoriesOf } from '../image/container-files.ts';
import { type MergedEntry, MergedTree } from '../image/merged-tree.ts';
import { ifThere } from '../image/overlay-files.ts';
import { packFiles } from '../image/pack.ts';
import { unpackLayer } from '../image/unpack.ts';
import { type CtrContext, containerFiles, publishContainer } from './ctr-context.ts';
import { isRunning, whilePaused } from './ctr-lifecycle.ts';
import type { CopyOutOptions, PathInfo } from './ctr-messages.ts';
import type { CtrRecord } from './ctr-record.ts';
import { readTree } from './tree-files.ts';

/**
 * The files of a container as it sees them: through its first process while it runs, else its layers. Links are
 * followed in here, as if its root were "/"; a running container is paused meanwhile, so that it cannot swap one.
 */
interface FileView {
  readonly tree: MergedTree;
  /** The path inside the view. */
  readonly path: string;
  /** Where files are written: a directory of the host. */
  readonly writeRoot: string;
}

/** What is at a path; a final link is followed. undefined when nothing is there. */
export async function statPath(
  context: CtrContext,
  record: CtrRecord,
  path: string,
): Promise<PathInfo | undefined> {
  const view = openView(context, record, path);
  const entry = await view.tree.lookup(view.path);
  return entry && { isDirectory: entry.stats.isDirectory() };
}

/** Writes a tar of a path's files. @throws CTR_PATH */
export async function copyOut(
  context: CtrContext,
  record: CtrRecord,
  { path, followsLink, asName, keepsOwner }: CopyOutOptions,
  send: (bytes: Buffer) => Promise<void>,
): Promise<PathInfo> {
  return whilePaused(context, record, async () => {
    const view = openView(context, record, path);
    const entry = await view.tree.lookup(view.path, followsLink || path.endsWith('/.'));
    if (entry === undefined) {
      throw new TkadmError('CTR_PATH', `Cannot copy "${record.name}:${path}": no such file or directory`);
    }
    const files = readTree(view.tree, entry, asName, { keepsOwner });
    for await (const chunk of packFiles(files)) await send(chunk as Buffer);
    return { isDirectory: entry.stats.isDirectory() };
  });
}

/** Writes a tar of all files of a container, as its layers have them: nothing of what is mounted. */
export async function exportFiles(
  context: CtrContext,
  record: CtrRecord,
  send: (bytes: Buffer) => Promise<void>,
): Promise<void> {
  await whilePaused(context, record, async () => {
    const tree = new MergedTree(directoriesOf(containerFiles(context, record)), context.inodes);
    const root = await tree.lookup('/');
    if (root === undefined) throw new Error(`container "${record.id}" has no root directory`);
    for await (const chunk of packFiles(readTree(tree, root, '', { keepsOwner: true })))
      await send(chunk as Buffer);
  });
  publishContainer(context, record, 'export');
}

/** Unpacks a tar into a directory of a container. @throws CTR_PATH */
export async function copyIn(
  context: CtrContext,
  record: CtrRecord,
  directory: string,
  tar: Readable,
): Promise<void> {
  await whilePaused(context, record, async () => {
    const view = openView(context, record, directory);
    const entry = await view.tree.lookup(view.path);
    if (!entry?.stats.isDirectory()) {
      throw new TkadmError('CTR_PATH', `Cannot copy to "${record.name}:${directory}": no such directory`);
    }
    refuseReadonly(record, directory);
    if (!isRunning(record)) await makeParents(view, entry.path);
    await unpackLayer(tar, join(view.writeRoot, entry.path), { inodes: context.inodes });
  });
  publishContainer(context, record, 'extract-to-dir', { path: directory });
}

function openView(context: CtrContext, record: CtrRecord, wanted: string): FileView {
  const path = posix.join('/', wanted);
  const { inodes } = context;
  if (isRunning(record)) {
    const root = `/proc/${record.state.pid}/root`;
    return { tree: new MergedTree([`${root}/`], inodes), path, writeRoot: root };
  }
  const mount = record.mounts
    .filter(({ source, target }) => source !== '' && (path === target || path.startsWith(`${target}/`)))
    .toSorted((a, b) => b.target.length - a.target.length)[0];
  if (mount !== undefined) {
    const inside = path.slice(mount.target.length) || '/';
    return { tree: new MergedTree([mount.source], inodes), path: inside, writeRoot: mount.source };
  }
  const directories = directoriesOf(containerFiles(context, record));
  return { tree: new MergedTree(directories, inodes), path, writeRoot: directories[0]! };
}

function refuseReadonly(record: CtrRecord, directory: string): void {
  const path = posix.join('/', directory);
  const mount = record.mounts
    .filter(({ target }) => path === target || path.startsWith(`${target}/`))
    .toSorted((a, b) => b.target.length - a.target.length)[0];
  if (mount ? !mount.isReadonly : !record.options.isReadonly) return;
  throw new TkadmError('CTR_PATH', `Cannot copy to "${record.name}:${directory}": it is read-only there`);
}

/** The directories on the way, in the writable layer, with the owner and mode that they have in the layers below. */
async function makeParents({ tree, writeRoot }: FileView, path: string): Promise<void> {
  if (path === '/' || (await ifThere(lstat(join(writeRoot, path))))) return;
  await makeParents({ tree, path, writeRoot }, dirname(path));
  const entry: MergedEntry | undefined = await tree.lookup(path, false);
  const target = join(writeRoot, path);
  await mkdir(target);
  if (entry === undefined) return;
  await lchown(target, entry.stats.uid, entry.stats.gid);
  await chmod(target, entry.stats.mode & 0o7777);
}
