import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { isSystemError, TkadmError } from '../base/errors.ts';
import { readFileIfExists, writeFileAtomic } from '../base/files.ts';
import { checkDigest, DigestMeter } from './blobs.ts';
import type { Inodes } from './inodes.ts';
import { assembleTar, TarSkeleton } from './tar-skeleton.ts';
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
}

export interface ImportLayerOptions {
  /** Expected digest of the stream. */
  readonly digest?: string | undefined;
  /** Expected digest of the uncompressed tar. */
  readonly diffId?: string | undefined;
  /** Told what was unpacked, before it can be seen in the store. */
  readonly onUnpacked?: ((layer: LayerRecord) => void) | undefined;
}

/** What is left of a layer's tar beside its files. */
const SKELETON = 'skeleton.gz';

/** Where a layer's files are: `layers/<hex of diffId>/diff`, beside them `layer.json` and the skeleton. */
export class LayerStore {
  readonly #directory: string;
  readonly #temporary: string;
  readonly #inodes: Inodes;

  constructor(root: string, inodes: Inodes) {
    this.#directory = join(root, 'layers');
    this.#temporary = join(root, 'tmp');
    this.#inodes = inodes;
  }

  async prepare(): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
  }

  /**
   * Unpacks a layer, plain or gzip. The layer is there in full or not at all.
   * @throws IMAGE_UNPACK, IMAGE_INVALID when a digest does not match or the compression is not supported.
   */
  async import(stream: Readable, options: ImportLayerOptions = {}): Promise<LayerRecord> {
    const temporary = join(this.#temporary, `layer-${randomBytes(8).toString('hex')}`);
    const diff = join(temporary, 'diff');
    await mkdir(diff, { recursive: true, mode: 0o755 });
    const skeleton = new TarSkeleton(join(temporary, SKELETON));
    try {
      const { head, body } = await peek(stream);
      const gunzip = decompressor(head);
      const plain = new DigestMeter();
      const blob = gunzip ? new DigestMeter() : plain;
      const copying = gunzip ? pipeline(body, blob, gunzip, plain) : pipeline(body, plain);
      copying.catch(() => {});
      const unpacked = await unpackLayer(plain, diff, { inodes: this.#inodes, skeleton });
      await copying;
      const isReproducible = await skeleton.finish();
      const { digest: diffId, sizeBytes: tarBytes } = plain.result();
      const { digest, sizeBytes: blobBytes } = blob.result();
      checkDigest(digest, options.digest);
      checkDigest(diffId, options.diffId);
      const record: LayerRecord = { diffId, digest, blobBytes, tarBytes, isReproducible, ...unpacked };
      await writeFileAtomic(join(temporary, 'layer.json'), JSON.stringify(record));
      options.onUnpacked?.(record);
      await this.#publish(temporary, diffId);
      return record;
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

/** The first bytes of a stream, and the whole stream again. */
async function peek(stream: Readable): Promise<{ readonly head: Buffer; readonly body: Readable }> {
  const body = new PassThrough();
  const iterator = stream[Symbol.asyncIterator]();
  const first = await iterator.next();
  const head = first.done ? Buffer.alloc(0) : Buffer.from(first.value);
  pipeline(async function* () {
    if (first.done) return;
    yield head;
    for (;;) {
      const next = await iterator.next();
      if (next.done) return;
      yield next.value;
    }
  }, body).catch(() => {});
  return { head, body };
}

/** By magic number: gzip (RFC 1952 §2.3.1), zstd (RFC 8878 §3.1.1); undefined for a plain tar. */
function decompressor(head: Buffer): NodeJS.ReadWriteStream | undefined {
  if (head[0] === 0x1f && head[1] === 0x8b) return createGunzip();
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) {
    throw new TkadmError('IMAGE_INVALID', 'Cannot unpack layer: zstd compression is not supported');
  }
  return undefined;
}
