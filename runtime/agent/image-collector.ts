import { statfs } from 'node:fs/promises';
import type { Logger } from '../base/log.ts';
import { sleep } from '../base/time.ts';
import { type CriClient, criErrorCode } from '../cri/client.ts';
import type { Image } from '../cri/messages/image.ts';
import type { EventText } from './events.ts';
import type { ImageGcSettings } from './kubelet-config.ts';

/** The file system that images are on. */
export interface Space {
  readonly capacityBytes: number;
  readonly availableBytes: number;
}

export interface ImageCollectorOptions {
  readonly cri: CriClient;
  readonly settings: ImageGcSettings;
  readonly now: () => number;
  /** An event on the Node. */
  readonly record: (text: EventText) => void;
  readonly log: Logger;
  /** Default: statfs(2). */
  readonly readSpace?: (path: string) => Promise<Space>;
}

/** How often the kubelet looks. */
const PERIOD_MS = 5 * 60_000;

/** When an image was seen first and when it was last in use. */
interface Sighting {
  readonly detectedAtMs: number;
  readonly usedAtMs: number;
}

/** An image that may be removed. */
export interface Candidate extends Sighting {
  readonly image: Pick<Image, 'id' | 'size'>;
}

/**
 * Removes images that nothing uses: the ones that were used the longest time ago first, when the disk is fuller than
 * imageGCHighThresholdPercent, down to imageGCLowThresholdPercent; and those of imageMaximumGCAge. What is in use,
 * pinned, or younger than imageMinimumGCAge stays. Ages count from the agent's start, so images that were loaded
 * for pods that have not begun are not taken for old.
 */
export class ImageCollector {
  readonly #options: ImageCollectorOptions;
  #sightings: ReadonlyMap<string, Sighting> = new Map();

  constructor(options: ImageCollectorOptions) {
    this.#options = options;
  }

  /** Collects until the signal ends it. */
  async run(signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    while (!signal.aborted) {
      await this.collect().catch((error: Error) => log.warn(`Cannot collect images: ${error.message}`));
      await sleep(PERIOD_MS, signal).catch(() => {});
    }
  }

  /** Looks once; returns the ids of the images that were removed. */
  async collect(): Promise<readonly string[]> {
    const { settings, now } = this.#options;
    const candidates = await this.#look();
    const old = findOld(candidates, settings, now());
    const removed = [...(await this.#remove(old)).removed];
    const { capacityBytes, availableBytes } = await this.#readSpace();
    const toFreeBytes = bytesToFree({ capacityBytes, availableBytes }, settings);
    if (toFreeBytes === 0) return removed;
    const rest = candidates.filter(({ image }) => !removed.includes(image.id));
    const chosen = chooseForSpace(rest, { settings, nowMs: now(), toFreeBytes });
    const freed = await this.#remove(chosen);
    this.#report(freed.bytes, toFreeBytes);
    return [...removed, ...freed.removed];
  }

  #report(freedBytes: number, toFreeBytes: number): void {
    if (freedBytes >= toFreeBytes) return;
    this.#options.record({
      type: 'Warning',
      reason: 'FreeDiskSpaceFailed',
      message: `Failed to garbage collect required amount of images. Attempted to free ${toFreeBytes} bytes, but only found ${freedBytes} bytes eligible to free.`,
    });
  }

  /** Notes what is in use; returns the others. */
  async #look(): Promise<readonly Candidate[]> {
    const { cri, now } = this.#options;
    const [{ images }, { containers }] = await Promise.all([cri.listImages({}), cri.listContainers({})]);
    const used = new Set(
      containers.flatMap(({ image, imageRef, imageId }) => [image?.image, imageRef, imageId]),
    );
    const nowMs = now();
    const sightings = new Map<string, Sighting>();
    const candidates: Candidate[] = [];
    for (const image of images) {
      const isUsed = [image.id, ...image.repoTags, ...image.repoDigests].some((name) => used.has(name));
      const before = this.#sightings.get(image.id) ?? { detectedAtMs: nowMs, usedAtMs: 0 };
      const sighting = isUsed ? { ...before, usedAtMs: nowMs } : before;
      sightings.set(image.id, sighting);
      if (!isUsed && !image.pinned) candidates.push({ image, ...sighting });
    }
    this.#sightings = sightings;
    return candidates;
  }

  async #readSpace(): Promise<Space> {
    const { cri, readSpace = readStatfs } = this.#options;
    const { imageFilesystems } = await cri.imageFsInfo({});
    const path = imageFilesystems[0]?.fsId?.mountpoint;
    return path ? readSpace(path) : { capacityBytes: 0, availableBytes: 0 };
  }

  async #remove(
    chosen: readonly Candidate[],
  ): Promise<{ readonly removed: readonly string[]; readonly bytes: number }> {
    const { cri, log } = this.#options;
    const removed: string[] = [];
    let bytes = 0;
    for (const { image } of chosen) {
      try {
        await cri.removeImage({ image: { image: image.id } });
        log.info('Removed an unused image', { image: image.id, bytes: image.size });
        removed.push(image.id);
        bytes += image.size;
      } catch (error) {
        if (criErrorCode(error) === undefined) throw error;
        log.warn(`Cannot remove image "${image.id}": ${(error as Error).message}`);
      }
    }
    return { removed, bytes };
  }
}

/** 0 while the disk is not fuller than the high threshold. */
export function bytesToFree({ capacityBytes, availableBytes }: Space, settings: ImageGcSettings): number {
  if (capacityBytes === 0) return 0;
  const usedPercent = 100 - Math.floor((availableBytes * 100) / capacityBytes);
  if (usedPercent < settings.highPercent) return 0;
  return Math.max(0, Math.floor((capacityBytes * (100 - settings.lowPercent)) / 100) - availableBytes);
}

/** The images that nothing has used for imageMaximumGCAge; [] without one. */
export function findOld(
  candidates: readonly Candidate[],
  { maxAgeMs }: ImageGcSettings,
  nowMs: number,
): readonly Candidate[] {
  if (maxAgeMs === 0) return [];
  return candidates.filter(
    ({ usedAtMs, detectedAtMs }) => nowMs - Math.max(usedAtMs, detectedAtMs) > maxAgeMs,
  );
}

/** As many as free so much space, the one that was used the longest time ago first. */
export function chooseForSpace(
  candidates: readonly Candidate[],
  options: { readonly settings: ImageGcSettings; readonly nowMs: number; readonly toFreeBytes: number },
): readonly Candidate[] {
  const { settings, nowMs, toFreeBytes } = options;
  const eligible = candidates
    .filter(({ detectedAtMs }) => nowMs - detectedAtMs >= settings.minAgeMs)
    .toSorted((a, b) => a.usedAtMs - b.usedAtMs || a.detectedAtMs - b.detectedAtMs);
  const chosen: Candidate[] = [];
  let bytes = 0;
  for (const candidate of eligible) {
    if (bytes >= toFreeBytes) break;
    chosen.push(candidate);
    bytes += candidate.image.size;
  }
  return chosen;
}

async function readStatfs(path: string): Promise<Space> {
  const { blocks, bavail, bsize } = await statfs(path);
  return { capacityBytes: blocks * bsize, availableBytes: bavail * bsize };
}
