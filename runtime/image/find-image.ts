import { isTkadmError } from '../base/errors.ts';
import { EMBEDDED_IMAGE_REPOSITORY } from '../base/paths.ts';
import { formatReference, type ImageReference, parseReference, SHA256_DIGEST } from './reference.ts';
import type { ImageRecord } from './store.ts';

/** The image that a name, name@digest, id or unique beginning of the id's hex digits means. */
export function findImage(images: ReadonlyMap<string, ImageRecord>, text: string): ImageRecord | undefined {
  const all = [...images.values()];
  const digest = /^[0-9a-f]{64}$/.test(text) ? `sha256:${text}` : text;
  if (SHA256_DIGEST.test(digest)) {
    return images.get(digest) ?? all.find((image) => image.manifestDigest === digest);
  }
  return findByName(all, text) ?? findByPrefix(all, text);
}

/** True for "tkadm.local/PROGRAM:TAG" with any tag, when the bundle's image has that program. */
export function namesProgramOf(bundle: ImageRecord, text: string): boolean {
  const reference = parseOrUndefined(text);
  if (reference?.registry !== EMBEDDED_IMAGE_REPOSITORY || reference.digest !== undefined) return false;
  return bundle.repoTags.some((tag) => parseReference(tag).repository === reference.repository);
}

function findByName(images: readonly ImageRecord[], text: string): ImageRecord | undefined {
  const reference = parseOrUndefined(text);
  if (reference === undefined) return undefined;
  if (reference.digest === undefined) {
    const name = formatReference(reference);
    return images.find((image) => image.repoTags.includes(name));
  }
  const name = formatReference({ ...reference, tag: undefined });
  return images.find((image) => image.repoDigests.includes(name));
}

function parseOrUndefined(text: string): ImageReference | undefined {
  try {
    return parseReference(text);
  } catch (error) {
    if (isTkadmError(error, 'IMAGE_REFERENCE_INVALID')) return undefined;
    throw error;
  }
}

function findByPrefix(images: readonly ImageRecord[], text: string): ImageRecord | undefined {
  if (!/^[0-9a-f]{6,63}$/.test(text)) return undefined;
  const matches = images.filter((image) => image.id.startsWith(`sha256:${text}`));
  return matches.length === 1 ? matches[0] : undefined;
}
