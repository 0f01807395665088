import { setTimeout as sleep } from 'node:timers/promises';
import { isTkadmError, TkadmError } from '../base/errors.ts';
import type { OciDescriptor } from './oci-image.ts';
import type { RegistryClient } from './registry.ts';

export interface DownloadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told how much has come so far, often. */
  readonly onBytes?: ((doneBytes: number) => void) | undefined;
}

/** Tries that bring nothing; a try that brings bytes starts the count again. */
const FRUITLESS_ATTEMPTS = 4;
const FIRST_PAUSE_MS = 250;

/**
 * The bytes of a blob. A connection that breaks off is made anew, and the download goes on where it stopped (RFC 9110
 * §14.2); registries that know no ranges are read from the start again, and what came before is passed over. The
 * digest is for the reader to check.
 * @throws IMAGE_INVALID when there is more or less than the descriptor says, REGISTRY, REGISTRY_UNREACHABLE.
 */
export async function* downloadBlob(
  client: RegistryClient,
  descriptor: OciDescriptor,
  { signal, onBytes }: DownloadOptions = {},
): AsyncGenerator<Uint8Array> {
  let doneBytes = 0;
  for (let attempt = 1; ; attempt += 1) {
    const startBytes = doneBytes;
    try {
      for await (const chunk of fetchFrom(client, descriptor, doneBytes)) {
        doneBytes += chunk.byteLength;
        onBytes?.(doneBytes);
        yield chunk;
      }
      if (doneBytes === descriptor.size) return;
      // The server says that this was all: what it has is another blob.
      throw invalid(descriptor, `has ${doneBytes} bytes`);
    } catch (error) {
      signal?.throwIfAborted();
      if (!isPassing(error)) throw error;
      if (doneBytes > startBytes) attempt = 1;
      if (attempt >= FRUITLESS_ATTEMPTS) throw error;
      await sleep(FIRST_PAUSE_MS * 2 ** (attempt - 1), undefined, { signal });
    }
  }
}

/** What may be better the next time: connections, and servers' own failures. */
function isPassing(error: unknown): boolean {
  return isTkadmError(error, 'REGISTRY_UNREACHABLE') || isTkadmError(error, 'REGISTRY');
}

async function* fetchFrom(
  client: RegistryClient,
  descriptor: OciDescriptor,
  fromByte: number,
): AsyncGenerator<Uint8Array> {
  const { digest, size } = descriptor;
  const { body, startByte } = await client.fetchBlob(digest, fromByte);
  let position = startByte;
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      const fresh = chunk.subarray(Math.max(0, fromByte - position));
      position += chunk.byteLength;
      if (position > size) throw invalid(descriptor, 'is longer');
      if (fresh.byteLength > 0) yield fresh;
    }
  } catch (error) {
    throw error instanceof TkadmError ? error : client.broken(digest, (error as Error).message);
  } finally {
    body.destroy();
  }
}

function invalid({ digest, size }: OciDescriptor, state: string): TkadmError {
  return new TkadmError(
    'IMAGE_INVALID',
    `Cannot use blob "${digest}" of ${size} bytes: the registry's ${state}`,
  );
}
