import type * as core from 'kubernetes-types/core/v1.d.ts';
import type { InitOf } from '../base/protobuf.ts';
import type { ImageSpec } from '../cri/messages/image.ts';
import type { EnsureImageOptions, ImagePuller } from './images.ts';

/** Images that a container mounts, by the name of the volume. */
export type ImageVolumes = ReadonlyMap<string, InitOf<typeof ImageSpec>>;

/** True for a volume that the runtime mounts itself: there is nothing of it on the host. */
export function isImageVolume(volume: core.Volume): boolean {
  return readSource(volume) !== undefined;
}

/**
 * Gets the images that a container mounts as volumes, by the pull policy of each, as that of the container itself.
 * @throws ImageError
 */
export async function ensureImageVolumes(
  images: ImagePuller,
  options: EnsureImageOptions,
): Promise<ImageVolumes> {
  const { pod, container } = options;
  const names = new Set((container.volumeMounts ?? []).map(({ name }) => name));
  const found = new Map<string, InitOf<typeof ImageSpec>>();
  for (const volume of pod.spec.volumes ?? []) {
    const source = readSource(volume);
    if (source === undefined || !names.has(volume.name)) continue;
    const { reference = '', pullPolicy } = source;
    const asked = { name: volume.name, image: reference, ...(pullPolicy && { imagePullPolicy: pullPolicy }) };
    const { ref } = await images.ensure({ ...options, container: asked });
    found.set(volume.name, { image: ref, userSpecifiedImage: reference });
  }
  return found;
}

/** core/v1 ImageVolumeSource, which the published types do not have yet. */
interface ImageVolumeSource {
  readonly reference?: string;
  readonly pullPolicy?: string;
}

function readSource(volume: core.Volume): ImageVolumeSource | undefined {
  return (volume as { readonly image?: ImageVolumeSource }).image;
}
