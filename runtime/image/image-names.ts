import { TkadmError } from '../base/errors.ts';
import { EMBEDDED_IMAGE_REPOSITORY } from '../base/paths.ts';
import { formatReference, parseReference } from './reference.ts';
import type { ImageRecord } from './store.ts';

/** The record of an image with `names` besides those that it has already. */
export function nameImage(
  image: Omit<ImageRecord, 'sizeBytes'>,
  known: ImageRecord | undefined,
  names: readonly string[],
): ImageRecord {
  const references = names.map(parseReference);
  const tags = references.filter((r) => r.tag !== undefined && r.digest === undefined).map(formatReference);
  const digests =
    image.manifestDigest === undefined
      ? []
      : references.map((r) => formatReference({ ...r, tag: undefined, digest: image.manifestDigest }));
  return {
    ...image,
    sizeBytes: image.layers.reduce((total, layer) => total + layer.sizeBytes, 0),
    repoTags: union(known?.repoTags, tags),
    repoDigests: union(known?.repoDigests, digests),
    isPinned: image.isPinned || (known?.isPinned ?? false),
    index: image.index ?? known?.index,
  };
}

/** The images from which a tag went to `named`, without it: a tag belongs to one image. */
export function takeTags(images: readonly ImageRecord[], named: ImageRecord): readonly ImageRecord[] {
  const isTaken = (tag: string) => named.repoTags.includes(tag);
  return images
    .filter((other) => other.id !== named.id && other.repoTags.some(isTaken))
    .map((other) => ({ ...other, repoTags: other.repoTags.filter((tag) => !isTaken(tag)) }));
}

/**
 * The images of the node bundle and of sandboxes keep their names: pods could not start without them.
 * @throws IMAGE_PINNED
 */
export function checkRemovable({ isPinned }: ImageRecord, name: string, tags: readonly string[]): void {
  if (!isPinned || !tags.some((tag) => tag.startsWith(`${EMBEDDED_IMAGE_REPOSITORY}/`))) return;
  throw new TkadmError('IMAGE_PINNED', `Cannot remove image "${name}": it belongs to the node bundle`, {
    hint: 'tkadm reset removes the node bundle with its images',
  });
}

function union(first: readonly string[] = [], second: readonly string[] = []): readonly string[] {
  return [...new Set([...first, ...second])];
}
