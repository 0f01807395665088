import { randomBytes } from 'node:crypto';
import { readlinkSync, symlinkSync } from 'node:fs';
import { mkdir, readdir, readlink, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isSystemError, isTkadmError, TkadmError } from '../base/errors.ts';
import { readFileIfExists } from '../base/files.ts';
import { ByteDigest, checkDigest } from './blobs.ts';
import { type Compression, createDecompressor, detectCompression, peek } from './decompress.ts';
import { FreshLayers } from './fresh-layers.ts';
import type { Inodes } from './inodes.ts';
import { ifThere } from './overlay-files.ts';
import { assembleTar, TarSkeleton } from './tar/tar-skeleton.ts';
import { unpackLayer } from './unpack.ts';

/** An unpacked layer. */
export interface LayerRecord {
  /** Of the uncompressed tar. */
  readonly diffId: string;
  /** Of the tar as it was imported, compressed or not. */
  readonly digest: string;
  /** Of the tar as it was imported. */
  readonly blobBytes: number;
  /** Of the uncompressed tar. */
  readonly tarBytes: number;
  /** Of the unpacked files. */
  readonly sizeBytes: number;
  readonly inodes: number;
  /** Its tar can be made again. */
  readonly isReproducible: boolean;
  /** As it was imported; unknown of layers that an earlier version imported. */
  readonly compression?: Compression | undefined;
}

/** What a layer may grow to while it is unpacked. */
export interface LayerLimits {
  /** Tars up to this size may be compressed as well as they can be. */
  readonly freeTarBytes: number;
  /** Size of a larger tar over that of its compressed form. */
  readonly maxRatio: number;
}

/** Programs and their data reach ratios of 2 to 10; zeros one of 1000, and as many GiB of them are no image. */
const LAYER_LIMITS: LayerLimits = { freeTarBytes: 10 * 2 ** 30, maxRatio: 200 };

export interface ImportLayerOptions {
  /** Expected digest of the stream. */
  readonly digest?: string | undefined;
  /** Expected digest of the uncompressed tar. */
  readonly diffId?: string | undefined;
  /** LAYER_LIMITS when undefined. */
  readonly limits?: LayerLimits | undefined;
  /** Told what was unpacked, before it can be seen in the store. */
  readonly onUnpacked?: ((layer: LayerRecord) => void) | undefined;
}

/** 40 bits: 350 such paths fit into a page. */
const SHORT_DIGITS = 10;

/** What is left of a layer's tar beside its files. */
const SKELETON = 'skeleton.gz';

/** Where a layer's files are: `layers/<hex of diffId>/diff`, beside them `layer.json` and the skeleton. */
export class LayerStore {
  readonly #directory: string;
  readonly #links: string;
  readonly #temporary: string;
  readonly #inodes: Inodes;
  readonly #fresh: FreshLayers;

  constructor(root: string, inodes: Inodes, bootId: string) {
    this.#directory = join(root, 'layers');
    this.#fresh = new FreshLayers(this.#directory, inodes, bootId);
    this.#links = join(root, 'l');
    this.#temporary = join(root, 'tmp');
    this.#inodes = inodes;
  }

  /** Removes layers that a loss of power may have damaged; returns the diffIds of those that wait for `settle`. */
  async prepare(): Promise<readonly string[]> {
    await mkdir(this.#directory, { recursive: true });
    await mkdir(this.#links, { recursive: true });
    const { whole, doubtful } = await this.#fresh.find();
    for (const name of doubtful) await this.remove(`sha256:${name}`);
    return whole.map((name) => `sha256:${name}`);
  }

  /** Resolves when these layers would survive a loss of power. */
  async settle(diffIds: readonly string[]): Promise<void> {
    await this.#fresh.settle(diffIds.map((diffId) => diffId.slice('sha256:'.length)));
  }

  /**
   * Unpacks a layer, plain, gzip or zstd. The layer is there in full or not at all.
   * @throws IMAGE_UNPACK, IMAGE_INVALID when a digest does not match or the compression is not supported.
   */
  async import(stream: Readable, options: ImportLayerOptions = {}): Promise<LayerRecord> {
    const temporary = join(this.#temporary, `layer-${randomBytes(8).toString('hex')}`);
    const diff = join(temporary, 'diff');
    await mkdir(diff, { recursive: true, mode: 0o755 });
    const skeleton = new TarSkeleton(join(temporary, SKELETON));
    try {
      const plain = await openPlain(stream, options.limits ?? LAYER_LIMITS);
      const unpacked = await unpackLayer(plain.bytes, diff, { inodes: this.#inodes, skeleton });
      await plain.ended;
      const isReproducible = await skeleton.finish();
      const { digest: diffId, sizeBytes: tarBytes } = plain.tar.result();
      const { digest, sizeBytes: blobBytes } = plain.blob.result();
      checkDigest(digest, options.digest);
      checkDigest(diffId, options.diffId);
      const { compression } = plain;
      const sizes = { blobBytes, tarBytes, isReproducible, compression };
      const record: LayerRecord = { diffId, digest, ...sizes, ...unpacked };
      await writeFile(join(temporary, 'layer.json'), JSON.stringify(record));
      await this.#fresh.mark(temporary);
      options.onUnpacked?.(record);
      await this.#publish(temporary, diffId);
      return record;
    } catch (error) {
      throw nameLayer(error, options.digest ?? options.diffId);
    } finally {
      stream.destroy();
      await skeleton.abandon();
      await rm(temporary, { recursive: true, force: true });
    }
  }

  /** The layer's tar, not compressed, with the bytes it had. @throws IMAGE_INVALID */
  open(layer: LayerRecord): Readable {
    if (!layer.isReproducible) {
      throw new TkadmError(
        'IMAGE_INVALID',
        `Cannot read layer "${layer.diffId}": its archive holds a file twice, and one content alone was kept`,
      );
    }
    return assembleTar(join(this.#path(layer.diffId), SKELETON), this.diffPath(layer.diffId));
  }

  async get(diffId: string): Promise<LayerRecord | undefined> {
    const text = await readFileIfExists(join(this.#path(diffId), 'layer.json'));
    return text === undefined ? undefined : (JSON.parse(text) as LayerRecord);
  }

  /** The directory for overlayfs. */
  diffPath(diffId: string): string {
    return join(this.#path(diffId), 'diff');
  }

  /**
   * The same directory by a path short enough for an overlay of hundreds of layers: a link, made when it is asked for.
   * Should another layer have it, the long one.
   */
  shortPath(diffId: string): string {
    const link = this.#shortLink(diffId);
    const target = join('..', 'layers', diffId.slice('sha256:'.length), 'diff');
    try {
      symlinkSync(target, link);
    } catch (error) {
      if (!isSystemError(error, 'EEXIST')) throw error;
      if (readlinkSync(link) !== target) return this.diffPath(diffId);
    }
    return link;
  }

  /** Every path by which the layer may be in use. */
  pathsOf(diffId: string): readonly string[] {
    return [this.diffPath(diffId), this.#shortLink(diffId)];
  }

  #shortLink(diffId: string): string {
    return join(this.#links, diffId.slice('sha256:'.length, 'sha256:'.length + SHORT_DIGITS));
  }

  async list(): Promise<readonly string[]> {
    return (await readdir(this.#directory)).map((name) => `sha256:${name}`);
  }

  /** Moves the layer out of the way first, so that a removal cut short leaves no half layer. */
  async remove(diffId: string): Promise<void> {
    const trash = join(this.#temporary, `trash-${randomBytes(8).toString('hex')}`);
    try {
      await rename(this.#path(diffId), trash);
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return;
      throw error;
    }
    await rm(trash, { recursive: true, force: true });
    await this.#removeLink(diffId);
  }

  async #removeLink(diffId: string): Promise<void> {
    const link = this.#shortLink(diffId);
    const target = await ifThere(readlink(link));
    if (target?.includes(diffId.slice('sha256:'.length))) await rm(link, { force: true });
  }

  async #publish(temporary: string, diffId: string): Promise<void> {
    try {
      await rename(temporary, this.#path(diffId));
    } catch (error) {
      // Another import of the same layer was faster.
      if (!isSystemError(error, 'ENOTEMPTY') && !isSystemError(error, 'EEXIST')) throw error;
    }
  }

  #path(diffId: string): string {
    return join(this.#directory, diffId.slice('sha256:'.length));
  }
}

interface PlainLayer {
  readonly bytes: AsyncIterable<Uint8Array>;
  readonly compression: Compression;
  /** Digests of what came and of the tar in it, which are one and the same when it is not compressed. */
  readonly blob: ByteDigest;
  readonly tar: ByteDigest;
  /** Resolves when all that came has been read. */
  readonly ended: Promise<void>;
}

/** A layer's tar, its digests taken on the way. @throws IMAGE_INVALID for a compression that is not supported */
async function openPlain(stream: Readable, limits: LayerLimits): Promise<PlainLayer> {
  const { head, body } = await peek(stream);
  const compression = detectCompression(head);
  const decompressor = createDecompressor(compression, head);
  const blob = new ByteDigest();
  if (decompressor === undefined) {
    return { bytes: blob.through(body), compression, blob, tar: blob, ended: Promise.resolve() };
  }
  const tar = new ByteDigest();
  const ended = pipeline(blob.through(body), decompressor);
  ended.catch(() => {});
  return {
    bytes: guardRatio(tar.through(decompressor), { blob, tar, limits }),
    compression,
    blob,
    tar,
    ended,
  };
}

interface RatioGuard {
  readonly blob: ByteDigest;
  readonly tar: ByteDigest;
  readonly limits: LayerLimits;
}

/** Ends a layer that becomes much larger than anything but zeros does: a decompression bomb. */
async function* guardRatio(
  source: AsyncIterable<Uint8Array>,
  { blob, tar, limits }: RatioGuard,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    if (tar.sizeBytes > limits.freeTarBytes && tar.sizeBytes > blob.sizeBytes * limits.maxRatio) {
      throw new TkadmError(
        'IMAGE_UNPACK',
        `Cannot unpack: ${blob.sizeBytes} bytes have become ${tar.sizeBytes}, more than ${limits.maxRatio} times as many`,
      );
    }
    yield chunk;
  }
}

/** An error of unpacking with the layer's name before it. */
function nameLayer(error: unknown, digest: string | undefined): unknown {
  if (digest === undefined || !isTkadmError(error, 'IMAGE_UNPACK')) return error;
  const state = error.message.replace(/^Cannot/, 'cannot');
  return new TkadmError('IMAGE_UNPACK', `Cannot add layer "${digest}": ${state}`, { cause: error });
}
