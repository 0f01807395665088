import { Readable } from 'node:stream';
import { TkadmError } from '../base/errors.ts';
import { checkDigest, sha256Digest } from './blobs.ts';
import { MEDIA_TYPES, type OciDescriptor, type OciImageConfig, type OciManifest } from './oci-image.ts';
import type { ImagePuller, PullOptions, RegistryAuth } from './puller.ts';
import { formatReference, type ImageReference, parseReference } from './reference.ts';
import { isPlainHttp, loadRegistries } from './registries.ts';
import { RegistryClient, type RegistryCredentials } from './registry.ts';
import type { ImageRecord, ImageStore } from './store.ts';

export interface PullerOptions {
  readonly store: ImageStore;
  /** "amd64", "arm64": which manifest of an index is taken. */
  readonly architecture: string;
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

/** A puller from registries; pulls of one image that come at the same time share the work. */
export function createRegistryPuller({ store, architecture }: PullerOptions): RegistryPuller {
  const running = new Map<string, Promise<ImageRecord>>();
  return {
    pull(text, options = {}) {
      const reference = parseReference(text);
      const key = `${formatReference(reference)} ${JSON.stringify(options.auth ?? null)}`;
      const present = running.get(key);
      if (present) return present;
      const pulling = pullImage(reference, { store, architecture, ...options }).finally(() =>
        running.delete(key),
      );
      running.set(key, pulling);
      return pulling;
    },
  };
}

interface PullContext extends RegistryPullOptions, PullerOptions {}

async function pullImage(reference: ImageReference, context: PullContext): Promise<ImageRecord> {
  const config = await loadRegistries();
  const hosts = [...(config.mirrors[reference.registry] ?? []), reference.registry];
  let failure: unknown;
  for (const host of hosts) {
    const client = new RegistryClient({
      host,
      repository: reference.repository,
      isPlainHttp: context.usesPlainHttp || isPlainHttp(host, config),
      credentials: toCredentials(context.auth),
      signal: context.signal,
    });
    try {
      return await pullFrom(client, reference, context);
    } catch (error) {
      failure = error;
      context.signal?.throwIfAborted();
    }
  }
  throw failure;
}

async function pullFrom(
  client: RegistryClient,
  reference: ImageReference,
  context: PullContext,
): Promise<ImageRecord> {
  const { store } = context;
  const manifest = await fetchManifest(client, reference, context.architecture);
  const { config, layers } = JSON.parse(manifest.toString('utf8')) as OciManifest;
  const configBytes = await readBlob(client, config);
  const { rootfs } = JSON.parse(configBytes.toString('utf8')) as OciImageConfig;
  if (rootfs?.diff_ids?.length !== layers.length) {
    throw new TkadmError(
      'IMAGE_INVALID',
      `Cannot pull "${formatReference(reference)}": its layers do not fit its configuration`,
    );
  }
  const queue = layers.map((layer, index) => ({ layer, diffId: rootfs.diff_ids[index]! }));
  const work = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await pullLayer(client, next, context);
  };
  await Promise.all(Array.from({ length: PARALLEL_LAYERS }, work));
  return store.putManifest({ manifest, config: configBytes, names: [formatReference(reference)] });
}

/** The manifest's bytes; of an index the one of this machine's platform. */
async function fetchManifest(
  client: RegistryClient,
  reference: ImageReference,
  architecture: string,
): Promise<Buffer> {
  const { bytes, mediaType } = await client.fetchManifest(reference.digest ?? reference.tag ?? 'latest');
  if (reference.digest) checkDigest(sha256Digest(bytes), reference.digest);
  const document = JSON.parse(bytes.toString('utf8')) as {
    mediaType?: string;
    manifests?: readonly OciDescriptor[];
  };
  const type = document.mediaType ?? mediaType;
  if (type !== MEDIA_TYPES.index && type !== MEDIA_TYPES.dockerIndex && !document.manifests) return bytes;
  const match = document.manifests?.find(
    (row) => row.platform?.os === 'linux' && row.platform.architecture === architecture,
  );
  if (!match) {
    const offered = document.manifests
      ?.map((row) => `${row.platform?.os}/${row.platform?.architecture}`)
      .join(', ');
    throw new TkadmError(
      'IMAGE_INVALID',
      `Cannot pull "${formatReference(reference)}": no image for linux/${architecture}, only for ${offered}`,
    );
  }
  const chosen = await client.fetchManifest(match.digest);
  checkDigest(sha256Digest(chosen.bytes), match.digest);
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

async function pullLayer(
  client: RegistryClient,
  { layer, diffId }: LayerWork,
  context: PullContext,
): Promise<void> {
  const { store, onProgress, signal } = context;
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
      signal?.throwIfAborted();
      if (attempt >= LAYER_ATTEMPTS) throw error;
    }
  }
}

function toCredentials(auth: RegistryAuth | undefined): RegistryCredentials | undefined {
  if (auth?.username !== undefined && auth.password !== undefined)
    return { username: auth.username, password: auth.password };
  if (!auth?.auth) return undefined;
  const text = Buffer.from(auth.auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
