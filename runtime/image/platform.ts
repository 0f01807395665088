import { TkadmError } from '../base/errors.ts';
import { MEDIA_TYPES, type OciDescriptor } from './oci-image.ts';

/** A manifest or an index, as far as they have to be told apart (OCI image-spec image-index.md). */
export interface ManifestDocument {
  readonly mediaType?: string;
  readonly manifests?: readonly OciDescriptor[];
}

/** True for an OCI index or a Docker manifest list. */
export function isIndex(
  document: ManifestDocument,
  mediaType: string | undefined,
): document is Required<Pick<ManifestDocument, 'manifests'>> {
  const type = document.mediaType ?? mediaType;
  return document.manifests !== undefined || type === MEDIA_TYPES.index || type === MEDIA_TYPES.dockerIndex;
}

/**
 * The manifest for linux on `architecture`.
 * @throws IMAGE_INVALID naming the platforms that there are.
 */
export function choosePlatform(
  name: string,
  manifests: readonly OciDescriptor[],
  architecture: string,
): OciDescriptor {
  const match = manifests.find(
    ({ platform }) => platform?.os === 'linux' && platform.architecture === architecture,
  );
  if (match) return match;
  const offered = manifests.map(({ platform }) => `${platform?.os}/${platform?.architecture}`).join(', ');
  throw new TkadmError(
    'IMAGE_INVALID',
    `Cannot use image "${name}": it is not for linux/${architecture}, only for ${offered || 'no platform'}`,
  );
}
