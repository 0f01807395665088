import type { Container } from './pod.ts';

/** A short text that changes when the container has to be made anew: FNV-1a over name and image, as the kubelet. */
export function hashContainer(container: Container): string {
  const text = JSON.stringify({ image: container.image ?? '', name: container.name });
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text, 'utf8')) {
    hash ^= byte;
    hash = Math.imul(hash, 0x01000193) >>> 0;
  }
  return hash.toString(16);
}
