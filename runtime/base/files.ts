import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describeFileError, isSystemError, TkadmError } from './errors.ts';

export interface WriteFileOptions {
  /** Permission bits, default 0o644. */
  readonly mode?: number;
  /** fsync the file and its directory before returning; default true. */
  readonly sync?: boolean;
}

/**
 * Writes a file so that readers see the old content or the new, never a part: temporary file in the
 * same directory, fsync, rename, fsync of the directory. Creates missing parent directories (0755).
 * @throws FILE_WRITE
 */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  options: WriteFileOptions = {},
): Promise<void> {
  const temporary = nameTemporary(path);
  const sync = options.sync ?? true;
  try {
    await writeNew(temporary, content, options);
    await rename(temporary, path);
    if (sync) await syncDirectory(dirname(path));
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw writeError(path, error);
  }
}

/** A file that is written together with others. */
export interface FileToWrite {
  readonly path: string;
  readonly content: string;
  /** Permission bits. */
  readonly mode: number;
}

/**
 * Writes files that count only together, a key and its certificate: all are on the disk, beside their places, before
 * the first one takes its own. A process that is killed between leaves the rest there, for `rename` alone.
 * @throws FILE_WRITE
 */
export async function writeFilesAtomic(files: readonly FileToWrite[]): Promise<void> {
  const rows = files.map((file) => ({ ...file, temporary: nameTemporary(file.path) }));
  let at = '';
  try {
    for (const { path, temporary, content, mode } of rows) {
      at = path;
      await writeNew(temporary, content, { mode });
    }
    const directories = new Set(rows.map(({ path }) => dirname(path)));
    for (const directory of directories) await syncDirectory(directory);
    for (const { path, temporary } of rows) {
      at = path;
      await rename(temporary, path);
    }
    for (const directory of directories) await syncDirectory(directory);
  } catch (error) {
    for (const { temporary } of rows) await unlink(temporary).catch(() => {});
    throw writeError(at, error);
  }
}

function nameTemporary(path: string): string {
  return `${path}.${randomBytes(6).toString('hex')}.tmp`;
}

async function writeNew(
  path: string,
  content: string | Uint8Array,
  { mode = 0o644, sync = true }: WriteFileOptions,
): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const file = await open(path, 'wx', mode);
  try {
    await file.chmod(mode);
    await file.writeFile(content);
    if (sync) await file.sync();
  } finally {
    await file.close();
  }
}

function writeError(path: string, error: unknown): TkadmError {
  return new TkadmError('FILE_WRITE', `Cannot write "${path}": ${describeFileError(error)}`, {
    cause: error,
  });
}

/**
 * The file's text, or undefined when it is not there.
 * @throws FILE_READ
 */
export async function readFileIfExists(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isSystemError(error, 'ENOENT') || isSystemError(error, 'ENOTDIR')) return undefined;
    throw new TkadmError('FILE_READ', `Cannot read "${path}": ${describeFileError(error)}`, {
      cause: error,
    });
  }
}

/** fsync of a directory: what was made, renamed or removed in it stays so after a loss of power. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
