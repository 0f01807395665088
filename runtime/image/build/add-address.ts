import { createWriteStream } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { TkadmError } from '../../base/errors.ts';
import { ByteDigest } from '../blobs.ts';
import { type Instruction, invalid } from '../dockerfile.ts';
import { drop, HttpClient } from '../http-client.ts';
import { SHA256_DIGEST } from '../reference.ts';

/** A file that ADD has fetched. */
export interface AddedFile {
  /** The last part of the address; empty when it has none. */
  readonly name: string;
  readonly hostPath: string;
  readonly sizeBytes: number;
  readonly digest: string;
  /** The server's Last-Modified; 1970 when it says nothing. */
  readonly mtime: Date;
}

/** Larger files are layers' business. */
const MAX_ADDED_BYTES = 10 * 2 ** 30;

/** True for a word of ADD that is fetched instead of copied. @throws DOCKERFILE_INVALID for git addresses */
export function isAddress(word: string, row: Instruction): boolean {
  if (/^(git(@|:\/\/)|ssh:\/\/)|^https?:\/\/[^?#]*\.git(#|$)/.test(word)) {
    throw invalid(row.line, `${row.name} "${word}": git repositories are not supported`);
  }
  return /^https?:\/\//.test(word);
}

export interface FetchOptions {
  /** Is made when it is not there. */
  readonly directory: string;
  /** "sha256:HEX" that `--checksum` asks for. */
  readonly checksum?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Fetches the file of an address.
 * @throws DOCKERFILE_INVALID when its digest is another than `checksum`, IMAGE_BUILD_STEP when it cannot be fetched.
 */
export async function fetchAddress(
  row: Instruction,
  address: string,
  { directory, checksum, signal }: FetchOptions,
): Promise<AddedFile> {
  if (checksum !== undefined && !SHA256_DIGEST.test(checksum)) {
    throw invalid(row.line, `ADD --checksum=${checksum}, which is no "sha256:" and 64 digits`);
  }
  const url = new URL(address);
  const digest = new ByteDigest();
  const hostPath = join(directory, 'content');
  const client = new HttpClient();
  try {
    await mkdir(directory, { recursive: true });
    const response = await client.send(url, { method: 'GET', signal });
    if (response.status !== 200) {
      drop(response);
      throw new Error(`HTTP ${response.status}`);
    }
    await pipeline(limited(digest.through(response.body)), createWriteStream(hostPath, { mode: 0o600 }));
    const found = digest.result();
    if (checksum !== undefined && found.digest !== checksum) {
      throw invalid(row.line, `ADD "${address}" with --checksum=${checksum}, but it is ${found.digest}`);
    }
    const modified = Date.parse(response.header('last-modified') ?? '');
    const name = posix.basename(decodeURIComponent(url.pathname));
    return { name, hostPath, ...found, mtime: new Date(Number.isNaN(modified) ? 0 : modified) };
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof TkadmError) throw error;
    const state = (error as Error).message;
    throw new TkadmError('IMAGE_BUILD_STEP', `Cannot build line ${row.line}, ADD "${address}": ${state}`, {
      cause: error,
    });
  } finally {
    client.close();
  }
}

async function* limited(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let count = 0;
  for await (const chunk of source) {
    count += chunk.byteLength;
    if (count > MAX_ADDED_BYTES) throw new Error(`it is larger than ${MAX_ADDED_BYTES} bytes`);
    yield chunk;
  }
}
