import { isTkadmError, TkadmError } from '../base/errors.ts';
import { EMBEDDED_IMAGE_REPOSITORY } from '../base/paths.ts';
import type { PullOptions } from '../image/puller.ts';
import { formatReference, parseReference } from '../image/reference.ts';
import type { ImageRecord } from '../image/store.ts';
import type { CriHandlers } from './handlers.ts';
import type { Image, ImageSpec } from './messages/image.ts';
import type { RuntimeContext } from './runtime-context.ts';
import { toNanos, verboseInfo } from './runtime-context.ts';
import { findHandler } from './runtime-handlers.ts';

type ImageHandlers = Pick<
  CriHandlers,
  'listImages' | 'streamImages' | 'imageStatus' | 'pullImage' | 'removeImage' | 'imageFsInfo'
>;

export function createImageHandlers(context: RuntimeContext): ImageHandlers {
  // A collector is to spare what a container uses, of which those of `tkadm ctr` are not in CRI's list.
  const build = (image: ImageRecord) => buildImage(image, context.images.isInUse(image));
  const list = (spec: ImageSpec | undefined): readonly Image[] => {
    if (spec === undefined || spec.image === '') return context.images.list().map(build);
    const image = findImage(context, spec);
    return image === undefined ? [] : [build(image)];
  };
  return {
    listImages: async ({ filter }) => ({ images: list(filter?.image) }),
    async *streamImages({ filter }) {
      for (const image of list(filter?.image)) yield { images: [image] };
    },
    async imageStatus({ image: spec, verbose }) {
      const image = findImage(context, spec);
      if (image === undefined) return {};
      const info = verboseInfo(verbose, () => ({ layers: image.layers, imageSpec: image.config }));
      return { image: build(image), info };
    },
    async pullImage({ image: spec, auth, sandboxConfig }, { signal }) {
      const reference = spec?.image ?? '';
      if (reference === '') throw new TkadmError('CRI_INVALID', 'Cannot pull image: it has no name');
      checkHandler(context, spec);
      const { namespace = '', name = '' } = sandboxConfig?.metadata ?? {};
      context.log.info('pulling', { image: reference, ...(name && { pod: `${namespace}/${name}` }) });
      const image = await pullImage(context, reference, { auth, signal });
      return { imageRef: image.id };
    },
    async removeImage({ image: spec }) {
      // The bundle's image is not meant by the name of another version.
      const image = spec?.image ? context.images.resolve(spec.image) : undefined;
      if (image !== undefined) await context.images.remove(image.id);
      return {};
    },
    async imageFsInfo() {
      const usage = await context.images.fsUsage();
      const filesystem = {
        timestamp: toNanos(context.now()),
        fsId: { mountpoint: usage.path },
        usedBytes: { value: usage.usedBytes },
        inodesUsed: { value: usage.inodes },
      };
      return { imageFilesystems: [filesystem], containerFilesystems: [filesystem] };
    },
  };
}

/** Images are the same for every handler. @throws CRI_NOT_FOUND for one that no runtime has. */
export function checkHandler(
  context: RuntimeContext,
  spec: { readonly runtimeHandler: string } | undefined,
): void {
  findHandler(context.handlers, spec?.runtimeHandler ?? '');
}

/** The image that a CRI spec means, by id, digest or name. */
export function findImage(
  context: RuntimeContext,
  spec: { readonly image: string } | undefined,
): ImageRecord | undefined {
  return spec === undefined || spec.image === '' ? undefined : findUsable(context, spec.image);
}

function findUsable({ images }: Pick<RuntimeContext, 'images'>, name: string): ImageRecord | undefined {
  return images.resolve(name) ?? images.findProgram(name);
}

/** How a container's status names its image: the name that the user gave, and the digested reference. */
export function imageNames(
  image: ImageRecord,
  spec: ImageSpec | undefined,
): { readonly imageName: string; readonly imageRef: string } {
  const imageRef = image.repoDigests[0] ?? image.id;
  for (const text of [spec?.userSpecifiedImage ?? '', spec?.image ?? '']) {
    const name = normalizeOrUndefined(text);
    if (name === undefined) continue;
    const program = name.slice(0, name.lastIndexOf(':') + 1);
    const own = image.repoTags.includes(name) ? name : image.repoTags.find((tag) => tag.startsWith(program));
    if (own !== undefined) return { imageName: own, imageRef };
  }
  return { imageName: image.repoTags[0] ?? imageRef, imageRef };
}

function normalizeOrUndefined(text: string): string | undefined {
  try {
    return formatReference(parseReference(text));
  } catch {
    return undefined;
  }
}

/**
 * The image of its registry, which is asked even when the name is in the store: a tag may have moved. What
 * is named by content is taken from the store, and so are the images of the node bundle, which no registry has.
 * A name in the store whose registry cannot be reached at all stays usable: nodes may be offline.
 */
async function pullImage(context: RuntimeContext, name: string, options: PullOptions): Promise<ImageRecord> {
  const present = findUsable(context, name);
  if (present !== undefined && (!isRegistryName(name) || present.isPinned)) return present;
  try {
    return await context.puller.pull(name, options);
  } catch (error) {
    if (present === undefined || !isTkadmError(error, 'REGISTRY_UNREACHABLE')) throw error;
    context.log.warn('used the image in the store', { image: name, reason: error.message });
    return present;
  }
}

/** False for an id, a digest, and names of this program's own images. */
function isRegistryName(text: string): boolean {
  if (/^(sha256:)?[0-9a-f]{64}$/.test(text)) return false;
  const { registry, digest } = parseReference(text);
  return digest === undefined && registry !== EMBEDDED_IMAGE_REPOSITORY;
}

function buildImage(image: ImageRecord, isInUse: boolean): Image {
  const [user = ''] = (image.config.config?.User ?? '').split(':');
  const isUid = /^\d+$/.test(user);
  return {
    id: image.id,
    repoTags: image.repoTags,
    repoDigests: image.repoDigests,
    size: image.sizeBytes,
    uid: isUid || user === '' ? { value: Number(user) } : undefined,
    username: isUid ? '' : user,
    spec: undefined,
    pinned: image.isPinned || isInUse,
  };
}
