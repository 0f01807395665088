import { createReadStream } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { describeFileError, formatError, TkadmError } from '../../../runtime/base/errors.ts';
import type { CliContext } from '../context.ts';
import { ctr } from './call.ts';

/** `tkadm ctr export`: the file is there as a whole or not at all. */
export async function runExport(
  context: CliContext,
  { output }: { readonly output?: string },
  name: string,
): Promise<void> {
  if (output === undefined || output === '-') {
    if (context.isTerminal) {
      throw new TkadmError('USAGE', 'Cannot write a tar to the terminal', { hint: '-o files.tar' });
    }
    await ctr(context, 'export', { name }, { onOutput: (_stream, bytes) => context.writeBytes(bytes) });
    return;
  }
  const path = resolve(context.cwd, output);
  const partial = `${path}.part`;
  const file = await openPart(partial);
  try {
    const onOutput = (_stream: string, bytes: Buffer) => file.writeFile(bytes);
    await ctr(context, 'export', { name }, { onOutput });
    await file.sync();
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

async function openPart(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'w', 0o600);
  } catch (error) {
    throw new TkadmError('FILE_WRITE', `Cannot write "${path}": ${formatError(error)}`, { cause: error });
  }
}

export interface ImportFlags {
  readonly change?: readonly string[];
  readonly message?: string;
}

/** `tkadm ctr import`: prints the image's id. */
export async function runImport(
  context: CliContext,
  { change = [], message = '' }: ImportFlags,
  { file, image }: { readonly file: string; readonly image: string | undefined },
): Promise<void> {
  if (/^https?:/.test(file)) {
    throw new TkadmError('UNSUPPORTED', `Cannot import "${file}": addresses are not fetched`, {
      hint: `curl -fL ${file} | tkadm ctr import - NAME`,
    });
  }
  const input = file === '-' ? Readable.from(context.stdin) : await openTar(resolve(context.cwd, file));
  const { id } = await ctr(context, 'import', { image, comment: message, changes: change }, { input });
  context.write(`${id}\n`);
}

async function openTar(path: string): Promise<Readable> {
  try {
    const handle = await open(path, 'r');
    await handle.close();
  } catch (error) {
    throw new TkadmError('FILE_READ', `Cannot read "${path}": ${describeFileError(error)}`, { cause: error });
  }
  return createReadStream(path);
}
