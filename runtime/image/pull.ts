import { Readable } from 'node:stream';
import { isTkadmError, TkadmError } from '../base/errors.ts';
import { checkDigest, sha256Digest } from './blobs.ts';
import { downloadBlob } from './download.ts';
import { buildIndex, type IndexDocument, selectLinux } from './image-index.ts';
import type { OciDescriptor } from './oci-image.ts';
import {
  checkLayerCount,
  MAX_CONFIG_BYTES,
  parseImageConfig,
  parseManifest,
  parseManifestDocument,
} from './parse-image.ts';
import { choosePlatform, isIndex } from './platform.ts';
import type { ImagePuller, PullOptions } from './puller.ts';
import { formatReference, type ImageReference, parseReference } from './reference.ts';
import { hostsOf, isPlainHttp, loadRegistries } from './registries.ts';
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
  /** Of the layer as the registry has it. */
  readonly sizeBytes: number;
  /** How many of them have come. */
  readonly doneBytes: number;
}

export interface RegistryPullOptions extends PullOptions {
  readonly usesPlainHttp?: boolean;
  /** Another platform's than the machine's: "arm64". */
  readonly architecture?: string | undefined;
  /** Every image of an index; the name is that of the machine's. */
  readonly hasAllPlatforms?: boolean;
  readonly onProgress?: (progress: PullProgress) => void;
}

/** Pulls images into a store. */
export interface RegistryPuller extends ImagePuller {
  pull(reference: string, options?: RegistryPullOptions): Promise<ImageRecord>;
}

const PARALLEL_LAYERS = 3;
const LAYER_ATTEMPTS = 2;
const BYTES_BETWEEN_REPORTS = 1 << 20;

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
    const architecture = first.architecture ?? options.architecture;
    const context = { ...options, ...first, architecture, signal: abort.signal, onProgress };
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
      const { usesPlainHttp = false, architecture = '', hasAllPlatforms = false } = pullOptions;
      const key = [formatReference(reference), usesPlainHttp, architecture, hasAllPlatforms, auth].join(' ');
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

interface PullContext extends Omit<RegistryPullOptions, 'architecture'>, PullerOptions {
  readonly signal: AbortSignal;
}

async function pullImage(reference: ImageReference, context: PullContext): Promise<ImageRecord> {
  const config = await loadRegistries(context.registriesPath);
  const failures: unknown[] = [];
  for (const host of hostsOf(reference.registry, config)) {
    const client = new RegistryClient({
      host,
      repository: reference.repository,
      isPlainHttp: context.usesPlainHttp || isPlainHttp(host, config),
      // A mirror is another registry: what opens one is no business of the other.
      credentials: host === reference.registry ? toCredentials(context.auth) : undefined,
      trust: config.hosts[host],
      signal: context.signal,
    });
    try {
      return await pullFrom(client, reference, context);
    } catch (error) {
      failures.push(error);
      context.signal.throwIfAborted();
    } finally {
      client.close();
    }
  }
  throw failures.at(-1);
}

async function pullFrom(
  client: RegistryClient,
  reference: ImageReference,
  context: PullContext,
): Promise<ImageRecord> {
  const name = formatReference(reference);
  const { bytes, mediaType } = await client.fetchManifest(reference.digest ?? reference.tag ?? 'latest');
  checkDigest(sha256Digest(bytes), reference.digest);
  const document = parseManifestDocument(bytes, name);
  if (!isIndex(document, mediaType)) return pullManifest(client, name, { bytes, hasName: true }, context);
  if (context.hasAllPlatforms) return pullIndex(client, name, { bytes, mediaType, document }, context);
  const { digest } = choosePlatform(name, document.manifests, context.architecture);
  return pullManifest(client, name, { bytes: await fetchExact(client, digest), hasName: true }, context);
}

interface FetchedIndex {
  readonly bytes: Buffer;
  readonly mediaType: string;
  readonly document: { readonly manifests: readonly OciDescriptor[] };
}

/** The images of an index one after the other, the one with the name last: until then nothing has changed. */
async function pullIndex(
  client: RegistryClient,
  name: string,
  { bytes, mediaType, document }: FetchedIndex,
  context: PullContext,
): Promise<ImageRecord> {
  const manifests = selectLinux(name, document.manifests);
  const isWhole = manifests.length === document.manifests.length;
  const index = isWhole
    ? { bytes, mediaType, digest: sha256Digest(bytes), manifests }
    : buildIndex(manifests);
  const own = manifests.find(({ platform }) => platform?.architecture === context.architecture);
  const last = own ?? manifests[0]!;
  for (const { digest } of manifests) {
    if (digest === last.digest) continue;
    await pullManifest(client, name, { bytes: await fetchExact(client, digest), hasName: false }, context);
  }
  const named = { bytes: await fetchExact(client, last.digest), hasName: true, index };
  return pullManifest(client, name, named, context);
}

interface PulledManifest {
  readonly bytes: Buffer;
  readonly hasName: boolean;
  readonly index?: IndexDocument;
}

/** The configuration and the layers of a manifest. */
async function pullManifest(
  client: RegistryClient,
  name: string,
  { bytes, hasName, index }: PulledManifest,
  context: PullContext,
): Promise<ImageRecord> {
  const manifest = parseManifest(bytes, name);
  if (manifest.config.size > MAX_CONFIG_BYTES) {
    throw new TkadmError('IMAGE_INVALID', `Cannot use image "${name}": its configuration is too large`);
  }
  const configBytes = await readBlob(client, manifest.config, context.signal);
  const config = parseImageConfig(configBytes, name);
  checkLayerCount(manifest, config, name);
  const work = manifest.layers.map((layer, index) => ({ layer, diffId: config.rootfs.diff_ids[index]! }));
  await pullLayers(client, work, context);
  const image = { manifest: bytes, config: configBytes, names: hasName ? [name] : [], index };
  return context.store.putManifest({ ...image, isReplaceable: true });
}

async function fetchExact(client: RegistryClient, digest: string): Promise<Buffer> {
  const { bytes } = await client.fetchManifest(digest);
  checkDigest(sha256Digest(bytes), digest);
  return bytes;
}

async function readBlob(
  client: RegistryClient,
  descriptor: OciDescriptor,
  signal: AbortSignal,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of downloadBlob(client, descriptor, { signal })) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  checkDigest(sha256Digest(bytes), descriptor.digest);
  return bytes;
}

interface LayerWork {
  readonly layer: OciDescriptor;
  readonly diffId: string;
}

/** Some layers at a time. After a failure the others end before the error is thrown: nothing goes on behind it. */
async function pullLayers(
  client: RegistryClient,
  layers: readonly LayerWork[],
  context: PullContext,
): Promise<void> {
  const queue = [...layers];
  const failed = new AbortController();
  const signal = AbortSignal.any([context.signal, failed.signal]);
  const work = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      try {
        await pullLayer(client, next, { ...context, signal });
      } catch (error) {
        queue.length = 0;
        failed.abort(error);
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: PARALLEL_LAYERS }, work));
  if (results.some(({ status }) => status === 'rejected')) throw failed.signal.reason;
}

async function pullLayer(
  client: RegistryClient,
  { layer, diffId }: LayerWork,
  { store, onProgress, signal }: PullContext,
): Promise<void> {
  const { digest, size: sizeBytes } = layer;
  const tell = (state: PullProgress['state'], doneBytes: number) =>
    onProgress?.({ digest, state, sizeBytes, doneBytes });
  if (await store.layer(diffId)) return tell('present', sizeBytes);
  tell('pulling', 0);
  let toldBytes = 0;
  const onBytes = (doneBytes: number) => {
    if (doneBytes - toldBytes < BYTES_BETWEEN_REPORTS) return;
    toldBytes = doneBytes;
    tell('pulling', doneBytes);
  };
  for (let attempt = 1; ; attempt += 1) {
    try {
      const stream = Readable.from(downloadBlob(client, layer, { signal, onBytes }), { objectMode: false });
      await store.importLayer(stream, { digest, diffId });
      return tell('done', sizeBytes);
    } catch (error) {
      signal.throwIfAborted();
      // Bytes may be damaged on their way; what is wrong with a layer itself stays wrong.
      if (attempt >= LAYER_ATTEMPTS || !isTkadmError(error, 'IMAGE_INVALID')) throw error;
    }
  }
}
