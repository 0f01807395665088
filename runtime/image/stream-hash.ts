import { createHash } from 'node:crypto';
import { addressOf, openOwnLibraries } from '../base/c-library.ts';

const DIGEST_BYTES = 32;
/** Less is hashed sooner than another thread is asked to do it. */
const ASIDE_BYTES = 1 << 15;

/** SHA-256 of a stream. A chunk must stay as it is until the promise of its update has resolved. */
export interface StreamHash {
  /** To be called when the update before has ended. */
  update(chunk: Uint8Array): Promise<void> | undefined;
  digest(): Buffer;
  /** To be called once, when nothing is under way. */
  close(): void;
}

/**
 * A hash that is taken on a thread of the pool, by the OpenSSL of Node.js (EVP_DigestInit(3)): the thread that unpacks
 * has other work. Where Node.js does not show its OpenSSL, createHash does it.
 */
export function openStreamHash(): StreamHash {
  try {
    return new AsideHash();
  } catch {
    const hash = createHash('sha256');
    const update = (chunk: Uint8Array) => {
      hash.update(chunk);
      return undefined;
    };
    return { update, digest: () => hash.digest(), close: () => {} };
  }
}

class AsideHash implements StreamHash {
  readonly #evp = declareEvp();
  readonly #context: number;

  constructor() {
    const { sha256, create, init, free } = this.#evp;
    this.#context = create()();
    if (init()(this.#context, sha256()(), 0) === 1) return;
    free()(this.#context);
    throw new Error('Cannot take digests with OpenSSL: EVP_DigestInit_ex failed');
  }

  update(chunk: Uint8Array): Promise<void> | undefined {
    const call = this.#evp.update();
    // The buffer is held by the closure while another thread reads it.
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (bytes.byteLength < ASIDE_BYTES) {
      check(call(this.#context, addressOf(bytes), bytes.byteLength));
      return undefined;
    }
    return new Promise((resolve, reject) => {
      const finish = (error: Error | null, result: number) => {
        if (error) reject(error);
        else resolve(check(result, bytes));
      };
      call.async(this.#context, addressOf(bytes), bytes.byteLength, finish);
    });
  }

  digest(): Buffer {
    const digest = Buffer.alloc(DIGEST_BYTES);
    check(this.#evp.finish()(this.#context, addressOf(digest), 0));
    return digest;
  }

  close(): void {
    this.#evp.free()(this.#context);
  }
}

function declareEvp() {
  const declare = openOwnLibraries();
  return {
    sha256: declare('EVP_sha256', 'size_t', []),
    create: declare('EVP_MD_CTX_new', 'size_t', []),
    init: declare('EVP_DigestInit_ex', 'int', ['size_t', 'size_t', 'size_t']),
    update: declare('EVP_DigestUpdate', 'int', ['size_t', 'size_t', 'size_t']),
    finish: declare('EVP_DigestFinal_ex', 'int', ['size_t', 'size_t', 'size_t']),
    free: declare('EVP_MD_CTX_free', 'void', ['size_t']),
  };
}

/** What was hashed is handed along, so that it lives as long as the call. */
function check(result: number, _held?: Buffer): void {
  if (result !== 1) throw new Error('Cannot take a digest: OpenSSL failed');
}
