import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { access, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isSystemError, TkadmError } from '../base/errors.ts';
import { SHA256_DIGEST } from './reference.ts';
import { openStreamHash } from './stream-hash.ts';

export interface BlobInfo {
  readonly digest: string;
  readonly sizeBytes: number;
}

/** Files named by the SHA-256 of their content: `blobs/sha256/<hex>`, as in an OCI image layout. */
export class BlobStore {
  readonly #directory: string;
  readonly #temporary: string;

  constructor(root: string) {
    this.#directory = join(root, 'blobs', 'sha256');
    this.#temporary = join(root, 'tmp');
  }

  async prepare(): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    await mkdir(this.#temporary, { recursive: true });
  }

  /**
   * Stores a stream. With `digest`, content that does not match is refused.
   * @throws IMAGE_INVALID
   */
  async put(content: Readable, digest?: string): Promise<BlobInfo> {
    const temporary = join(this.#temporary, `blob-${randomBytes(8).toString('hex')}`);
    const meter = new ByteDigest();
    try {
      const file = createWriteStream(temporary, { mode: 0o600, flush: true });
      await pipeline(meter.through(content), file);
      const info = meter.result();
      checkDigest(info.digest, digest);
      await rename(temporary, this.path(info.digest));
      return info;
    } finally {
      await rm(temporary, { force: true });
    }
  }

  /** @throws IMAGE_NOT_FOUND */
  async read(digest: string): Promise<Buffer> {
    try {
      return await readFile(this.path(digest));
    } catch (error) {
      if (!isSystemError(error, 'ENOENT')) throw error;
      throw new TkadmError('IMAGE_NOT_FOUND', `Cannot read blob "${digest}": it is not in the store`);
    }
  }

  open(digest: string): Readable {
    return createReadStream(this.path(digest));
  }

  async has(digest: string): Promise<boolean> {
    return access(this.path(digest)).then(
      () => true,
      () => false,
    );
  }

  async list(): Promise<readonly string[]> {
    return (await readdir(this.#directory)).map((name) => `sha256:${name}`);
  }

  async remove(digest: string): Promise<void> {
    await rm(this.path(digest), { force: true });
  }

  path(digest: string): string {
    if (!SHA256_DIGEST.test(digest)) {
      throw new TkadmError('IMAGE_INVALID', `Cannot use digest "${digest}": only sha256 is supported`);
    }
    return join(this.#directory, digest.slice('sha256:'.length));
  }
}

/** SHA-256 and number of the bytes of a stream. */
export class ByteDigest {
  #digest: string | undefined;
  sizeBytes = 0;

  /** To be called when the stream has been read to its end. */
  result(): BlobInfo {
    if (this.#digest === undefined) throw new Error('Cannot tell the digest of a stream that goes on');
    return { digest: this.#digest, sizeBytes: this.sizeBytes };
  }

  /** Passes bytes on as they come, while another thread takes their digest: nobody may change them. */
  async *through(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const hash = openStreamHash();
    let last: Promise<void> | undefined;
    try {
      for await (const chunk of source) {
        await last;
        last = hash.update(chunk);
        this.sizeBytes += chunk.byteLength;
        yield chunk;
      }
      await last;
      this.#digest = `sha256:${hash.digest().toString('hex')}`;
    } finally {
      await Promise.resolve(last).catch(() => {});
      hash.close();
    }
  }
}

/** "sha256:<hex>" of bytes. */
export function sha256Digest(content: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

/** @throws IMAGE_INVALID when an expected digest is not the found one. */
export function checkDigest(found: string, expected: string | undefined): void {
  if (expected === undefined || expected === found) return;
  throw new TkadmError('IMAGE_INVALID', `Cannot store content "${expected}": its digest is ${found}`);
}
