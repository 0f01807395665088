import { createReadStream } from 'node:fs';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { TkadmError } from '../../runtime/base/errors.ts';
import { callImages, type ImageCallRequest } from '../../runtime/cri/image-client.ts';
import {
  type BuildRequest,
  IMAGE_SOCKET,
  type ImageCall,
  type ImageResults,
  type ImageSummary,
  type PullRequest,
} from '../../runtime/cri/image-messages.ts';
import type { CliContext } from './context.ts';
import { writeData } from './output.ts';

export interface ImageBuildFlags {
  readonly file?: string;
  readonly tag: readonly string[];
  readonly buildArg?: readonly string[];
  readonly target?: string;
  readonly cache: boolean;
}

/** `tkadm image build CONTEXT`: the paths are this machine's, which is the runtime's. */
export async function runImageBuild(
  context: CliContext,
  path: string,
  flags: ImageBuildFlags,
): Promise<void> {
  const contextDir = resolve(context.cwd, path);
  const body: BuildRequest = {
    contextDir,
    dockerfile: flags.file ? resolve(context.cwd, flags.file) : join(contextDir, 'Dockerfile'),
    tags: flags.tag,
    buildArgs: Object.fromEntries((flags.buildArg ?? []).map((text) => parseBuildArg(context, text))),
    target: flags.target,
    usesCache: flags.cache,
  };
  const image = await call(context, 'build', { body });
  context.write(`Built ${describe(image)}\n`);
}

/** `tkadm image load --input FILE`: the archive is sent as it is read. */
export async function runImageLoad(context: CliContext, flags: { readonly input: string }): Promise<void> {
  const body = flags.input === '-' ? Readable.from(context.stdin) : await openArchive(context, flags.input);
  const images = await call(context, 'load', { body });
  for (const image of images) context.write(`Loaded ${describe(image)}\n`);
}

/** `tkadm image pull NAME` */
export async function runImagePull(
  context: CliContext,
  name: string,
  flags: { readonly plainHttp?: boolean },
): Promise<void> {
  const body: PullRequest = { name, plainHttp: flags.plainHttp ?? false };
  const image = await call(context, 'pull', { body });
  context.write(`Pulled ${describe(image)}\n`);
}

/** `tkadm image ls` */
export async function runImageList(context: CliContext, flags: { readonly output: string }): Promise<void> {
  const images = await call(context, 'list', {});
  writeData(context, flags.output, { images }, formatImageTable(images));
}

/** `tkadm image rm NAMES`: in order, up to the first that cannot be removed. */
export async function runImageRemove(context: CliContext, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const { id } = await call(context, 'remove', { name });
    context.write(`Removed ${name} (${shortId(id)})\n`);
  }
}

/** TKADM_IMAGE_SOCKET names another runtime's socket. */
async function call<C extends ImageCall>(
  context: CliContext,
  name: C,
  request: ImageCallRequest,
): Promise<ImageResults[C]> {
  const socketPath = context.env['TKADM_IMAGE_SOCKET'] || IMAGE_SOCKET;
  const onProgress = (line: string) => context.write(`${line}\n`);
  return callImages(socketPath, name, { ...request, onProgress, signal: context.signal });
}

/** "NAME=value", or "NAME" for the value in the environment. @throws USAGE */
function parseBuildArg(context: CliContext, text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  const value = context.env[text];
  if (at < 0 && value !== undefined) return [text, value];
  throw new TkadmError('USAGE', `Cannot use "--build-arg ${text}": it has no value`, {
    hint: '--build-arg NAME=value',
  });
}

async function openArchive(context: CliContext, input: string): Promise<Readable> {
  const path = resolve(context.cwd, input);
  const stream = createReadStream(path);
  await new Promise<void>((done, fail) => {
    stream.once('open', () => done());
    stream.once('error', (error) => {
      fail(new TkadmError('FILE_READ', `Cannot read "${path}": ${error.message}`, { cause: error }));
    });
  });
  return stream;
}

function describe({ id, repoTags }: ImageSummary): string {
  return repoTags.length > 0 ? `${repoTags.join(', ')} (${shortId(id)})` : id;
}

const COLUMNS = ['REPOSITORY', 'TAG', 'IMAGE ID', 'SIZE'] as const;

/** The table of `tkadm image ls`: a row for each tag, "<none>" for an image without one. */
export function formatImageTable(images: readonly ImageSummary[]): string {
  const rows = images.flatMap((image) =>
    (image.repoTags.length > 0 ? image.repoTags : ['<none>:<none>']).map((name) => {
      const colon = name.lastIndexOf(':');
      return [name.slice(0, colon), name.slice(colon + 1), shortId(image.id), formatSize(image.sizeBytes)];
    }),
  );
  const table = [COLUMNS, ...rows.sort((a, b) => a.join(' ').localeCompare(b.join(' ')))];
  const widths = COLUMNS.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  const lines = table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}

/** The first 12 hex digits, as Docker shows them. */
function shortId(id: string): string {
  return id.slice('sha256:'.length, 'sha256:'.length + 12);
}

/** "4.3MB": powers of 1000. */
function formatSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'] as const;
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)}${units[power]}`;
}
