import { TkadmError } from '../../runtime/base/errors.ts';
import type {
  ImageDetails,
  LayerProgress,
  PullRequest,
  TagRequest,
} from '../../runtime/cri/image-messages.ts';
import { formatTable } from '../render/table.ts';
import type { CliContext } from './context.ts';
import { parsePlatform } from './image-build.ts';
import { callRuntime, type ImageFlags } from './image-call.ts';
import { describeImage, formatImageTable, shortId } from './image-view.ts';
import { writeData } from './output.ts';
import { createPullDisplay } from './pull-progress.ts';
import { readRegistryAuth } from './registry-auth.ts';
import { formatSize } from './size.ts';

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
  const image = await callRuntime(context, 'pull', { body, output: flags.output, onLayer }).finally(() =>
    display.end(),
  );
  writeData(context, flags.output, { image }, `Pulled ${describeImage(image)}\n`);
}

/** `tkadm image prune`: images without a name, or all that no container has. */
export async function runImagePrune(
  context: CliContext,
  flags: ImageFlags & { readonly all?: boolean; readonly buildCache?: boolean },
): Promise<void> {
  const body = { all: flags.all ?? false, buildCache: flags.buildCache ?? false };
  const pruned = await callRuntime(context, 'prune', { body, output: flags.output });
  const lines = pruned.images.map((image) => `Removed ${describeImage(image)}\n`);
  const steps = pruned.cachedSteps > 0 ? [`Forgot ${pruned.cachedSteps} steps of builds\n`] : [];
  const text = [...lines, ...steps, `Freed ${formatSize(pruned.freedBytes)}\n`].join('');
  writeData(context, flags.output, pruned, text);
}

/** `tkadm image push NAME` */
export async function runImagePush(context: CliContext, name: string, flags: RegistryFlags): Promise<void> {
  const body = await registryRequest(context, name, flags);
  const pushed = await callRuntime(context, 'push', { body, output: flags.output });
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
  const image = await callRuntime(context, 'tag', { body, output });
  writeData(context, output, { image }, `Tagged ${describeImage(image)}\n`);
}

/** `tkadm image inspect NAMES` */
export async function runImageInspect(
  context: CliContext,
  names: readonly string[],
  { output }: ImageFlags,
): Promise<void> {
  const images: ImageDetails[] = [];
  for (const name of names) images.push(await callRuntime(context, 'inspect', { name, output }));
  writeData(context, output, images, `${JSON.stringify(images, null, 2)}\n`);
}

/** `tkadm image history NAME`: how each layer was made, the last first. */
export async function runImageHistory(
  context: CliContext,
  name: string,
  { output }: ImageFlags,
): Promise<void> {
  const { config, layers } = await callRuntime(context, 'inspect', { name, output });
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
  const images = await callRuntime(context, 'list', flags);
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
    const { id } = await callRuntime(context, 'remove', { name, output });
    removed.push({ name, id });
    if (output === 'text') context.write(`Removed ${name} (${shortId(id)})\n`);
  }
  writeData(context, output, { removed }, '');
}
