import { TkadmError } from '../base/errors.ts';
import { sha256Digest } from './blobs.ts';
import { MEDIA_TYPES, type OciDescriptor } from './oci-image.ts';
import type { ImageRecord, ImageStore } from './store.ts';

/** An index of one image for several platforms, whose manifests the store has as images (image-spec image-index.md). */
export interface ImageIndex {
  /** Of its bytes, a blob of the store. */
  readonly digest: string;
  readonly mediaType: string;
  readonly manifests: readonly OciDescriptor[];
}

/** An index and its bytes. */
export interface IndexDocument extends ImageIndex {
  readonly bytes: Buffer;
}

/** What an index says of one platform, and the image for it. */
export interface IndexRow {
  readonly platform: string;
  readonly digest: string;
  readonly id: string;
  readonly sizeBytes: number;
}

/** An index of the same images, with other manifests. */
export function buildIndex(manifests: readonly OciDescriptor[]): IndexDocument {
  const mediaType = MEDIA_TYPES.index;
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
  return { digest: sha256Digest(bytes), mediaType, manifests, bytes };
}

/** The manifests that are images for Linux: others are for other systems, or are attestations. */
export function selectLinux(name: string, manifests: readonly OciDescriptor[]): readonly OciDescriptor[] {
  const images = manifests.filter(({ platform }) => platform?.os === 'linux');
  if (images.length > 0) return images;
  throw new TkadmError('IMAGE_INVALID', `Cannot use image "${name}": its index has nothing for Linux`);
}

/** The images of an index in its order, as far as the store has them. */
export function indexMembers(store: Pick<ImageStore, 'list'>, index: ImageIndex): readonly ImageRecord[] {
  const images = store.list();
  return index.manifests.flatMap(
    ({ digest }) => images.find(({ manifestDigest }) => manifestDigest === digest) ?? [],
  );
}

/** True for an image of a platform that another image's index names. */
export function isIndexMember(images: readonly ImageRecord[], image: ImageRecord): boolean {
  return images.some(
    ({ id, index }) =>
      id !== image.id && index?.manifests.some(({ digest }) => digest === image.manifestDigest),
  );
}

/** "linux/arm64/v8" */
export function formatPlatform({ platform }: OciDescriptor): string {
  return [platform?.os, platform?.architecture, platform?.variant].filter(Boolean).join('/');
}

export function listIndex(store: Pick<ImageStore, 'list'>, index: ImageIndex): readonly IndexRow[] {
  const members = indexMembers(store, index);
  return index.manifests.flatMap((descriptor) => {
    const image = members.find(({ manifestDigest }) => manifestDigest === descriptor.digest);
    if (image === undefined) return [];
    const { id, sizeBytes } = image;
    return [{ platform: formatPlatform(descriptor), digest: descriptor.digest, id, sizeBytes }];
  });
}
