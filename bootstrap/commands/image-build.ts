import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describeFileError, TkadmError } from '../../runtime/base/errors.ts';
import type { BuildRequest, ImageSummary } from '../../runtime/cri/image-messages.ts';
import { type CliContext, readInput } from './context.ts';
import { callRuntime, type ImageFlags } from './image-call.ts';
import { describeImage } from './image-view.ts';
import { writeData } from './output.ts';

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
  writeData(context, flags.output, { image }, `Built ${describeImage(image)}\n`);
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
  return callRuntime(context, 'build', { body, output: flags.output });
}

/** "linux/arm64" or "arm64", with a variant behind that is not looked at. @throws USAGE */
export function parsePlatform(text: string): string {
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
