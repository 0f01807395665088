import { createReadStream, createWriteStream } from 'node:fs';
import { readFile, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { describeFileError, formatError, TkadmError } from '../../runtime/base/errors.ts';
import { callImages, type ImageCallRequest } from '../../runtime/cri/image-client.ts';
import {
  type BuildRequest,
  IMAGE_SOCKET,
  type ImageCall,
  type ImageDetails,
  type ImageResults,
  type ImageSummary,
  type LayerProgress,
  type PullRequest,
  type TagRequest,
} from '../../runtime/cri/image-messages.ts';
import { formatTable } from '../render/table.ts';
import { type CliContext, readInput } from './context.ts';
import { type DocumentFormat, writeData } from './output.ts';
import { createPullDisplay } from './pull-progress.ts';
import { readRegistryAuth } from './registry-auth.ts';
import { formatSize } from './size.ts';

interface ImageFlags {
  readonly output: DocumentFormat;
}

export interface ImageBuildFlags extends ImageFlags {
  readonly file?: string;
  readonly tag: readonly string[];
  readonly buildArg?: readonly string[];
  readonly secret?: readonly string[];
  readonly target?: string;
  readonly platform?: string;
  readonly cache: boolean;
  readonly pull?: boolean;
}

/** `tkadm image build CONTEXT`: the paths are this machine's, which is the runtime's; `--file -` is standard input. */
export async function runImageBuild(
  context: CliContext,
  path: string,
  flags: ImageBuildFlags,
): Promise<void> {
  const image = await buildImage(context, path, flags);
  writeData(context, flags.output, { image }, `Built ${describe(image)}\n`);
}

/** Builds an image; the steps are written as they are done. @throws USAGE, FILE_READ and what the build reports */
export async function buildImage(
  context: CliContext,
  path: string,
  flags: ImageBuildFlags,
): Promise<ImageSummary> {
  const contextDir = resolve(context.cwd, path);
  const body: BuildRequest = {
    contextDir,
    ...(flags.file === '-'
      ? { dockerfileText: await readInput(context, '-') }
      : { dockerfile: flags.file ? resolve(context.cwd, flags.file) : join(contextDir, 'Dockerfile') }),
    tags: flags.tag,
    buildArgs: Object.fromEntries((flags.buildArg ?? []).map((text) => parseBuildArg(context, text))),
    secrets: await readSecrets(context, flags.secret ?? []),
    target: flags.target,
    usesCache: flags.cache,
    pull: flags.pull ?? false,
    architecture: flags.platform === undefined ? undefined : parsePlatform(flags.platform),
  };
  return call(context, 'build', { body, output: flags.output });
}

/** "linux/arm64" or "arm64", with a variant behind that is not looked at. @throws USAGE */
function parsePlatform(text: string): string {
  const [, architecture] = /^(?:linux\/)?(amd64|arm64)(?:\/v8)?$/.exec(text) ?? [];
  if (architecture !== undefined) return architecture;
  throw new TkadmError('USAGE', `Cannot use "--platform ${text}": it is none of linux/amd64, linux/arm64`);
}

/** "id=NAME,src=FILE" or "id=NAME,env=VARIABLE", content in base64. @throws USAGE, FILE_READ */
async function readSecrets(
  context: CliContext,
  texts: readonly string[],
): Promise<Readonly<Record<string, string>>> {
  const secrets: Record<string, string> = {};
  for (const text of texts) {
    const fields = new Map(
      text.split(',').map((part) => [part.split('=', 1)[0]!, part.slice(part.indexOf('=') + 1)]),
    );
    const id = fields.get('id');
    const path = fields.get('src') ?? fields.get('source');
    const variable = fields.get('env');
    const value = variable === undefined ? undefined : context.env[variable];
    const unknown = [...fields.keys()].find((key) => !['id', 'src', 'source', 'env', 'type'].includes(key));
    if (!id || unknown !== undefined || (path === undefined) === (value === undefined)) {
      throw new TkadmError(
        'USAGE',
        `Cannot use "--secret id=${id ?? ''}": it needs id, and src or env that is set`,
        {
          hint: '--secret id=NAME,src=FILE; --secret id=NAME,env=VARIABLE',
        },
      );
    }
    secrets[id] =
      value === undefined
        ? await readBase64(resolve(context.cwd, path!))
        : Buffer.from(value).toString('base64');
  }
  return secrets;
}

async function readBase64(path: string): Promise<string> {
  try {
    return await readFile(path, 'base64');
  } catch (error) {
    throw new TkadmError('FILE_READ', `Cannot read "${path}": ${describeFileError(error)}`, { cause: error });
  }
}

/** `tkadm image load --input FILE`: the archive is sent as it is read. */
export async function runImageLoad(
  context: CliContext,
  flags: ImageFlags & { readonly input: string },
): Promise<void> {
  const images = await loadImages(context, flags);
  const text = images.map((image) => `Loaded ${describe(image)}\n`).join('');
  writeData(context, flags.output, { images }, text);
}

/** The images of an archive, loaded. @throws FILE_READ and what the runtime reports */
export async function loadImages(
  context: CliContext,
  flags: ImageFlags & { readonly input: string },
): Promise<readonly ImageSummary[]> {
  const body = flags.input === '-' ? Readable.from(context.stdin) : await openArchive(context, flags.input);
  return call(context, 'load', { body, output: flags.output });
}

interface RegistryFlags extends ImageFlags {
  readonly plainHttp?: boolean;
  readonly authfile?: string;
}

/** `tkadm image pull NAME` */
export async function runImagePull(
  context: CliContext,
  name: string,
  flags: RegistryFlags & { readonly platform?: string; readonly allPlatforms?: boolean },
): Promise<void> {
  const { allPlatforms: hasAllPlatforms = false } = flags;
  if (hasAllPlatforms && flags.platform !== undefined) {
    throw new TkadmError('USAGE', 'Cannot use "--all-platforms": --platform is given as well');
  }
  const architecture = flags.platform === undefined ? undefined : parsePlatform(flags.platform);
  const body = { ...(await registryRequest(context, name, flags)), architecture, hasAllPlatforms };
  const display = createPullDisplay(context, flags.output);
  const onLayer = (layer: LayerProgress) => display.update(layer);
  const image = await call(context, 'pull', { body, output: flags.output, onLayer }).finally(() =>
    display.end(),
  );
  writeData(context, flags.output, { image }, `Pulled ${describe(image)}\n`);
}

/** `tkadm image prune`: images without a name, or all that no container has. */
export async function runImagePrune(
  context: CliContext,
  flags: ImageFlags & { readonly all?: boolean; readonly buildCache?: boolean },
): Promise<void> {
  const body = { all: flags.all ?? false, buildCache: flags.buildCache ?? false };
  const pruned = await call(context, 'prune', { body, output: flags.output });
  const lines = pruned.images.map((image) => `Removed ${describe(image)}\n`);
  const steps = pruned.cachedSteps > 0 ? [`Forgot ${pruned.cachedSteps} steps of builds\n`] : [];
  const text = [...lines, ...steps, `Freed ${formatSize(pruned.freedBytes)}\n`].join('');
  writeData(context, flags.output, pruned, text);
}

/** `tkadm image push NAME` */
export async function runImagePush(context: CliContext, name: string, flags: RegistryFlags): Promise<void> {
  const body = await registryRequest(context, name, flags);
  const pushed = await call(context, 'push', { body, output: flags.output });
  writeData(context, flags.output, pushed, `Pushed ${pushed.name}@${pushed.digest}\n`);
}

async function registryRequest(
  context: CliContext,
  name: string,
  flags: RegistryFlags,
): Promise<PullRequest> {
  const auth = await readRegistryAuth(context, name, flags.authfile);
  return { name, plainHttp: flags.plainHttp ?? false, auth };
}

/** `tkadm image tag SOURCE TARGET` */
export async function runImageTag(
  context: CliContext,
  body: TagRequest,
  { output }: ImageFlags,
): Promise<void> {
  const image = await call(context, 'tag', { body, output });
  writeData(context, output, { image }, `Tagged ${describe(image)}\n`);
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
  const archive = await call(context, 'save', { body: { names }, output: 'json' });
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

/** `tkadm image inspect NAMES` */
export async function runImageInspect(
  context: CliContext,
  names: readonly string[],
  { output }: ImageFlags,
): Promise<void> {
  const images: ImageDetails[] = [];
  for (const name of names) images.push(await call(context, 'inspect', { name, output }));
  writeData(context, output, images, `${JSON.stringify(images, null, 2)}\n`);
}

/** `tkadm image history NAME`: how each layer was made, the last first. */
export async function runImageHistory(
  context: CliContext,
  name: string,
  { output }: ImageFlags,
): Promise<void> {
  const { config, layers } = await call(context, 'inspect', { name, output });
  let layer = 0;
  const steps = (config.history ?? []).map((step) => {
    const { created = '', created_by: createdBy = '', empty_layer: isEmpty = false } = step;
    const sizeBytes = isEmpty ? 0 : (layers[layer]?.sizeBytes ?? 0);
    if (!isEmpty) layer += 1;
    return { created: String(created), createdBy: String(createdBy), sizeBytes };
  });
  const rows = steps.toReversed().map((step) => [step.created, formatSize(step.sizeBytes), step.createdBy]);
  writeData(
    context,
    output,
    { history: steps.toReversed() },
    formatTable([['CREATED', 'SIZE', 'CREATED BY'], ...rows]),
  );
}

/** `tkadm image ls` */
export async function runImageList(context: CliContext, flags: ImageFlags): Promise<void> {
  const images = await call(context, 'list', flags);
  writeData(context, flags.output, { images }, formatImageTable(images));
}

/** `tkadm image rm NAMES`: in order, up to the first that cannot be removed. */
export async function runImageRemove(
  context: CliContext,
  names: readonly string[],
  { output }: ImageFlags,
): Promise<void> {
  const removed: { readonly name: string; readonly id: string }[] = [];
  for (const name of names) {
    const { id } = await call(context, 'remove', { name, output });
    removed.push({ name, id });
    if (output === 'text') context.write(`Removed ${name} (${shortId(id)})\n`);
  }
  writeData(context, output, { removed }, '');
}

/** TKADM_IMAGE_SOCKET names another runtime's socket. Progress goes to standard error beside a document. */
async function call<C extends ImageCall>(
  context: CliContext,
  name: C,
  { output, ...request }: ImageCallRequest & ImageFlags,
): Promise<ImageResults[C]> {
  const socketPath = context.env['TKADM_IMAGE_SOCKET'] || IMAGE_SOCKET;
  const write = output === 'text' ? context.write : context.writeError;
  const onProgress = (line: string) => write(`${line}\n`);
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
      fail(
        new TkadmError('FILE_READ', `Cannot read "${path}": ${describeFileError(error)}`, { cause: error }),
      );
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
  return formatTable([COLUMNS, ...rows.sort((a, b) => a.join(' ').localeCompare(b.join(' ')))], 2);
}

/** The first 12 hex digits, as Docker shows them. */
function shortId(id: string): string {
  return id.slice('sha256:'.length, 'sha256:'.length + 12);
}
