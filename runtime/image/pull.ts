import { Readable } from 'node:stream';
import { TkadmError } from '../base/errors.ts';
import { checkDigest, sha256Digest } from './blobs.ts';
import type { OciDescriptor, OciImageConfig, OciManifest } from './oci-image.ts';
import { choosePlatform, isIndex, type ManifestDocument } from './platform.ts';
import type { ImagePuller, PullOptions } from './puller.ts';
import { formatReference, type ImageReference, parseReference } from './reference.ts';
import { isPlainHttp, loadRegistries } from './registries.ts';
import { RegistryClient } from './registry.ts';
import { toCredentials } from './registry-auth.ts';
import type { ImageRecord, ImageStore } from './store.ts';

export interface PullerOptions {
  readonly store: ImageStore;
  /** "amd64", "arm64": which manifest of an index is taken. */
  readonly architecture: string;
  /** The file of loadRegistries; its usual place when undefined. */
  readonly registriesPath?: string;
}

export interface PullProgress {
  readonly digest: string;
  readonly state: 'present' | 'pulling' | 'done';
  readonly sizeBytes: number;
}

export interface RegistryPullOptions extends PullOptions {
  readonly usesPlainHttp?: boolean;
  readonly onProgress?: (progress: PullProgress) => void;
}

/** Pulls images into a store. */
export interface RegistryPuller extends ImagePuller {
  pull(reference: string, options?: RegistryPullOptions): Promise<ImageRecord>;
}

const PARALLEL_LAYERS = 3;
const LAYER_ATTEMPTS = 3;

/** A pull that is under way, and those who wait for it. */
interface RunningPull {
  readonly result: Promise<ImageRecord>;
  readonly listeners: Set<RegistryPullOptions>;
  readonly abort: AbortController;
}

/**
 * A puller from registries. Pulls of one image that come at the same time share the work, which ends early when
 * the last of them is aborted.
 */
export function createRegistryPuller(options: PullerOptions): RegistryPuller {
  const running = new Map<string, RunningPull>();
  const start = (key: string, reference: ImageReference, first: RegistryPullOptions): RunningPull => {
    const abort = new AbortController();
    const listeners = new Set<RegistryPullOptions>();
    const onProgress = (progress: PullProgress) => {
      for (const listener of listeners) listener.onProgress?.(progress);
    };
    const context = { ...options, ...first, signal: abort.signal, onProgress };
    const result = pullImage(reference, context).finally(() => running.delete(key));
    const pull = { result, listeners, abort };
    running.set(key, pull);
    return pull;
  };
  return {
    async pull(text, pullOptions = {}) {
      pullOptions.signal?.throwIfAborted();
      const reference = parseReference(text);
      const auth = JSON.stringify(pullOptions.auth ?? null);
      const key = `${formatReference(reference)} ${pullOptions.usesPlainHttp ?? false} ${auth}`;
      return follow(running.get(key) ?? start(key, reference, pullOptions), pullOptions);
    },
  };
}

async function follow(pull: RunningPull, options: RegistryPullOptions): Promise<ImageRecord> {
  const { signal } = options;
  pull.listeners.add(options);
  const aborted = new Promise<never>((_resolve, reject) => {
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  try {
    return await Promise.race([pull.result, aborted]);
  } finally {
    pull.listeners.delete(options);
    if (pull.listeners.size === 0) pull.abort.abort();
  }
}

interface PullContext extends RegistryPullOptions, PullerOptions {
  readonly signal: AbortSignal;
}

async function pullImage(reference: ImageReference, context: PullContext): Promise<ImageRecord> {
  const config = await loadRegistries(context.registriesPath);
  const hosts = [...(config.mirrors[reference.registry] ?? []), reference.registry];
  let failure: unknown;
  for (const host of hosts) {
    const client = new RegistryClient({
      host,
      repository: reference.repository,
      isPlainHttp: context.usesPlainHttp || isPlainHttp(host, config),
      // A mirror is another registry: what opens one is no business of the other.
      credentials: host === reference.registry ? toCredentials(context.auth) : undefined,
      signal: context.signal,
    });
    try {
      return await pullFrom(client, reference, context);
    } catch (error) {
      failure = error;
      context.signal.throwIfAborted();
    }
  }
  throw failure;
}

async function pullFrom(
  client: RegistryClient,
  reference: ImageReference,
  context: PullContext,
): Promise<ImageRecord> {
  const name = formatReference(reference);
  const manifest = await fetchManifest(client, reference, context.architecture);
  const { config, layers } = JSON.parse(manifest.toString('utf8')) as Partial<OciManifest>;
  if (!config || !layers) {
    throw new TkadmError('IMAGE_INVALID', `Cannot pull "${name}": its manifest is of no supported kind`);
  }
  const configBytes = await readBlob(client, config);
  const { rootfs } = JSON.parse(configBytes.toString('utf8')) as Partial<OciImageConfig>;
  if (rootfs?.diff_ids?.length !== layers.length) {
    throw new TkadmError('IMAGE_INVALID', `Cannot pull "${name}": its layers do not fit its configuration`);
  }
  await pullLayers(
    client,
    layers.map((layer, index) => ({ layer, diffId: rootfs.diff_ids[index]! })),
    context,
  );
  return context.store.putManifest({ manifest, config: configBytes, names: [name] });
}

/** The manifest's bytes; of an index the one of this machine's platform. */
async function fetchManifest(
  client: RegistryClient,
  reference: ImageReference,
  architecture: string,
): Promise<Buffer> {
  const { bytes, mediaType } = await client.fetchManifest(reference.digest ?? reference.tag ?? 'latest');
  checkDigest(sha256Digest(bytes), reference.digest);
  const document = JSON.parse(bytes.toString('utf8')) as ManifestDocument;
  if (!isIndex(document, mediaType)) return bytes;
  const { digest } = choosePlatform(formatReference(reference), document.manifests, architecture);
  const chosen = await client.fetchManifest(digest);
  checkDigest(sha256Digest(chosen.bytes), digest);
  return chosen.bytes;
}

async function readBlob(client: RegistryClient, descriptor: OciDescriptor): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of await client.fetchBlob(descriptor.digest)) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  checkDigest(sha256Digest(bytes), descriptor.digest);
  return bytes;
}

interface LayerWork {
  readonly layer: OciDescriptor;
  readonly diffId: string;
}

async function pullLayers(
  client: RegistryClient,
  layers: readonly LayerWork[],
  context: PullContext,
): Promise<void> {
  const queue = [...layers];
  const work = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      try {
        await pullLayer(client, next, context);
      } catch (error) {
        queue.length = 0;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL_LAYERS }, work));
}

async function pullLayer(
  client: RegistryClient,
  { layer, diffId }: LayerWork,
  { store, onProgress, signal }: PullContext,
): Promise<void> {
  const tell = (state: PullProgress['state']) =>
    onProgress?.({ digest: layer.digest, state, sizeBytes: layer.size });
  if (await store.layer(diffId)) return tell('present');
  tell('pulling');
  for (let attempt = 1; ; attempt += 1) {
    try {
      const stream = Readable.fromWeb((await client.fetchBlob(layer.digest)) as never);
      await store.importLayer(stream, { digest: layer.digest, diffId });
      return tell('done');
    } catch (error) {
      signal.throwIfAborted();
      if (attempt >= LAYER_ATTEMPTS) throw error;
    }
  }
}
