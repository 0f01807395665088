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
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  const sync = options.sync ?? true;
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(temporary, 'wx', options.mode ?? 0o644);
    try {
      await file.chmod(options.mode ?? 0o644);
      await file.writeFile(content);
      if (sync) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    if (sync) await syncDirectory(dirname(path));
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw new TkadmError('FILE_WRITE', `Cannot write "${path}": ${(error as Error).message}`, {
      cause: error,
    });
  }
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
    throw new TkadmError('FILE_READ', `Cannot read "${path}": ${describeFileError(error)}`, { cause: error });
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
