import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describeFileError, formatError, TkadmError } from '../../runtime/base/errors.ts';
import type { ImageSummary } from '../../runtime/cri/image-messages.ts';
import type { CliContext } from './context.ts';
import { callRuntime, type ImageFlags } from './image-call.ts';
import { describeImage } from './image-view.ts';
import { writeData } from './output.ts';

/** `tkadm image load --input FILE`: the archive is sent as it is read. */
export async function runImageLoad(
  context: CliContext,
  flags: ImageFlags & { readonly input: string },
): Promise<void> {
  const images = await loadImages(context, flags);
  const text = images.map((image) => `Loaded ${describeImage(image)}\n`).join('');
  writeData(context, flags.output, { images }, text);
}

/** The images of an archive, loaded. @throws FILE_READ and what the runtime reports */
export async function loadImages(
  context: CliContext,
  flags: ImageFlags & { readonly input: string },
): Promise<readonly ImageSummary[]> {
  const body = flags.input === '-' ? Readable.from(context.stdin) : await openArchive(context, flags.input);
  return callRuntime(context, 'load', { body, output: flags.output });
}

/** `tkadm image save --file FILE NAMES`: the archive appears when it is whole. */
export async function runImageSave(
  context: CliContext,
  names: readonly string[],
  flags: ImageFlags & { readonly file: string },
): Promise<void> {
  if (flags.file === '-' && flags.output !== 'text') {
    throw new TkadmError('USAGE', `Cannot write an archive and ${flags.output} to standard output`, {
      hint: 'Name a file: -f images.tar',
    });
  }
  const archive = await callRuntime(context, 'save', { body: { names }, output: 'json' });
  if (flags.file === '-') {
    if (context.isTerminal) {
      throw new TkadmError('USAGE', 'Cannot write an archive to the terminal', {
        hint: 'Name a file: -f images.tar',
      });
    }
    for await (const chunk of archive) await context.writeBytes(chunk as Uint8Array);
    return;
  }
  const path = resolve(context.cwd, flags.file);
  const partial = `${path}.part`;
  try {
    await pipeline(archive, createWriteStream(partial, { flush: true }), { signal: context.signal });
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    context.signal.throwIfAborted();
    throw new TkadmError('FILE_WRITE', `Cannot save to "${path}": ${formatError(error)}`, { cause: error });
  }
  writeData(context, flags.output, { names, path }, `Saved ${names.join(', ')} to ${path}\n`);
}

async function openArchive(context: CliContext, input: string): Promise<Readable> {
  const path = resolve(context.cwd, input);
  const stream = createReadStream(path);
  await new Promise<void>((done, fail) => {
    stream.once('open', () => done());
    stream.once('error', (error) => {
      fail(
        new TkadmError('FILE_READ', `Cannot read "${path}": ${describeFileError(error)}`, { cause: error }),
      );
    });
  });
  return stream;
}
