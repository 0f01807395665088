import {
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isSystemError } from '../../base/errors.ts';

export interface PayloadFile {
  readonly content: Uint8Array;
  readonly mode: number;
  /** Owner, for token files of containers that run as this user. */
  readonly uid?: number | undefined;
}

/** Relative paths → files of a volume. */
export type Payload = ReadonlyMap<string, PayloadFile>;

/**
 * Makes a directory show exactly the payload, changed in one step:
 *
 *     volume/..2026_11_21_07_00_00.123/key     the files
 *     volume/..data -> ..2026_11_21_07_00_00.123   swapped by rename(2)
 *     volume/key -> ..data/key                 one for each first path part
 *
 * Returns whether anything changed. (Kubernetes `volume/util/atomic_writer.go`.)
 */
export async function writeAtomically(
  directory: string,
  payload: Payload,
  options: { readonly now: Date; readonly gid?: number | undefined },
): Promise<boolean> {
  await mkdir(directory, { recursive: true });
  const data = join(directory, '..data');
  const oldTarget = await readlink(data).catch(() => undefined);
  if (oldTarget !== undefined && (await isSame(join(directory, oldTarget), payload))) return false;
  const stamp = options.now.toISOString().slice(0, 19).replace(/[-T:]/g, '_');
  const fresh = await mkdtemp(join(directory, `..${stamp}.`));
  await chmod(fresh, 0o755);
  for (const [path, file] of payload) await writeOne(join(fresh, path), file, options.gid);
  if (options.gid !== undefined) await chownTree(fresh, options.gid);
  const temporary = join(directory, '..data_tmp');
  await rm(temporary, { force: true });
  await symlink(fresh.slice(directory.length + 1), temporary);
  await rename(temporary, data);
  await linkNames(directory, payload);
  if (oldTarget !== undefined) await rm(join(directory, oldTarget), { recursive: true, force: true });
  return true;
}

async function writeOne(path: string, file: PayloadFile, gid: number | undefined): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, file.content);
  // A group that owns the volume may read what the owner may.
  const mode = gid === undefined ? file.mode : file.mode | ((file.mode & 0o400) >> 3);
  await chmod(path, mode);
  if (file.uid !== undefined) await chown(path, file.uid, gid ?? 0);
}

async function chownTree(directory: string, gid: number): Promise<void> {
  await chown(directory, 0, gid);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await chownTree(path, gid);
    else await chown(path, (await lstat(path)).uid, gid);
  }
}

async function linkNames(directory: string, payload: Payload): Promise<void> {
  const wanted = new Set([...payload.keys()].map((path) => path.split('/')[0]!));
  for (const name of await readdir(directory)) {
    if (!name.startsWith('..') && !wanted.has(name)) await rm(join(directory, name), { recursive: true });
  }
  for (const name of wanted) {
    try {
      await symlink(join('..data', name), join(directory, name));
    } catch (error) {
      if (!isSystemError(error, 'EEXIST')) throw error;
    }
  }
}

async function isSame(directory: string, payload: Payload): Promise<boolean> {
  const present = await listFiles(directory).catch(() => undefined);
  if (!present || present.length !== payload.size) return false;
  for (const path of present) {
    const file = payload.get(path);
    if (!file) return false;
    if (!(await readFile(join(directory, path))).equals(file.content)) return false;
  }
  return true;
}

async function listFiles(directory: string, prefix = ''): Promise<string[]> {
  const result: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isDirectory())
      result.push(...(await listFiles(join(directory, entry.name), `${prefix}${entry.name}/`)));
    else result.push(prefix + entry.name);
  }
  return result;
}
