import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { TkadmError } from '../base/errors.ts';
import { layerDescriptor } from './archive.ts';
import { type BlobInfo, ByteDigest, sha256Digest } from './blobs.ts';
import { buildIndex, formatPlatform, type ImageIndex, indexMembers } from './image-index.ts';
import { MEDIA_TYPES, type OciDescriptor, type OciManifest } from './oci-image.ts';
import type { RegistryAuth } from './puller.ts';
import { formatReference, parseReference } from './reference.ts';
import { isPlainHttp, loadRegistries } from './registries.ts';
import { RegistryClient } from './registry.ts';
import { toCredentials } from './registry-auth.ts';
import type { ImageLayer, ImageRecord, ImageStore } from './store.ts';

export interface PushOptions {
  readonly store: ImageStore;
  /** For compressed layers on their way. */
  readonly workDir: string;
  readonly auth?: RegistryAuth | undefined;
  readonly usesPlainHttp?: boolean;
  /** The file of loadRegistries; its usual place when undefined. */
  readonly registriesPath?: string;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (line: string) => void;
}

export interface PushResult {
  /** "registry/repository:tag" */
  readonly name: string;
  /** Of the manifest that the name leads to now. */
  readonly digest: string;
}

/**
 * Pushes an image under one of its names (distribution-spec 1.1, "Push"). The registry gets the manifest that the image
 * came with when it holds the same layers; else the layers are compressed again, and the manifest is a new one of the
 * same image.
 * @throws IMAGE_NOT_FOUND, UNSUPPORTED for the images of the node bundle, REGISTRY, REGISTRY_DENIED, REGISTRY_UNREACHABLE
 */
export async function pushImage(text: string, options: PushOptions): Promise<PushResult> {
  const { store, signal } = options;
  const reference = parseReference(text);
  const name = formatReference(reference);
  const image = store.resolve(name);
  if (image === undefined || reference.tag === undefined) {
    throw new TkadmError('IMAGE_NOT_FOUND', `Cannot push "${name}": no image has this name`, {
      hint: 'tkadm image ls; tkadm image tag SOURCE NAME',
    });
  }
  requireOwnFiles(image, `Cannot push "${name}"`);
  const registries = await loadRegistries(options.registriesPath);
  const client = new RegistryClient({
    host: reference.registry,
    repository: reference.repository,
    isPlainHttp: options.usesPlainHttp || isPlainHttp(reference.registry, registries),
    credentials: toCredentials(options.auth),
    isPush: true,
    trust: registries.hosts[reference.registry],
    signal,
  });
  try {
    return await pushTo(client, image, { ...options, name, tag: reference.tag });
  } finally {
    client.close();
  }
}

interface PushTarget extends PushOptions {
  readonly name: string;
  readonly tag: string;
}

async function pushTo(client: RegistryClient, image: ImageRecord, options: PushTarget): Promise<PushResult> {
  const { name, tag } = options;
  const { index } = image;
  const pushed =
    index === undefined ? await pushOne(client, image, options) : await pushIndex(client, index, options);
  await client.pushManifest(tag, pushed.mediaType, pushed.bytes);
  return { name, digest: sha256Digest(pushed.bytes) };
}

interface ManifestBytes {
  readonly bytes: Buffer;
  readonly mediaType: string;
}

/** Every image of an index by its digest; the index is the one that was pulled when they have kept their manifests. */
async function pushIndex(
  client: RegistryClient,
  index: ImageIndex,
  options: PushTarget,
): Promise<ManifestBytes> {
  const members = indexMembers(options.store, index);
  const manifests: OciDescriptor[] = [];
  for (const descriptor of index.manifests) {
    const image = members.find(({ manifestDigest }) => manifestDigest === descriptor.digest);
    const platform = formatPlatform(descriptor);
    if (image === undefined) {
      throw new TkadmError(
        'IMAGE_NOT_FOUND',
        `Cannot push "${options.name}": its image for ${platform} was removed`,
        { hint: `tkadm image pull --all-platforms ${options.name}` },
      );
    }
    options.onProgress?.(platform);
    const { bytes, mediaType } = await pushOne(client, image, options);
    const digest = sha256Digest(bytes);
    await client.pushManifest(digest, mediaType, bytes);
    manifests.push({ ...descriptor, mediaType, digest, size: bytes.byteLength });
  }
  const isSame = manifests.every(({ digest }, row) => digest === index.manifests[row]?.digest);
  if (isSame) return { bytes: await options.store.blobs.read(index.digest), mediaType: index.mediaType };
  return buildIndex(manifests);
}

/** The blobs of an image; returns its manifest. */
async function pushOne(
  client: RegistryClient,
  image: ImageRecord,
  options: PushOptions,
): Promise<ManifestBytes> {
  const { store, signal } = options;
  const layers: OciDescriptor[] = [];
  for (const layer of image.layers) {
    signal?.throwIfAborted();
    layers.push(await pushLayer(client, layer, options));
  }
  const config = await store.blobs.read(image.id);
  if (!(await client.hasBlob(image.id))) await client.pushBlob(image.id, config);
  return chooseManifest(image, { layers, config, store });
}

/** @throws UNSUPPORTED when the files of a layer are the node's own. */
export function requireOwnFiles(image: ImageRecord, problem: string): void {
  if (image.layers.every((layer) => layer.directory === undefined)) return;
  throw new TkadmError(
    'UNSUPPORTED',
    `${problem}: it is made of the node bundle, which has no layers to copy`,
  );
}

/** Sends a layer unless it is there; returns how the registry knows it. */
async function pushLayer(
  client: RegistryClient,
  { digest, diffId }: ImageLayer,
  { store, workDir, onProgress }: PushOptions,
): Promise<OciDescriptor> {
  const short = diffId.slice('sha256:'.length, 'sha256:'.length + 12);
  const layer = await store.layer(diffId);
  if (layer !== undefined && (await client.hasBlob(digest))) {
    onProgress?.(`${short}: is there`);
    return layerDescriptor({ ...layer, digest });
  }
  const path = join(workDir, `push-${randomBytes(8).toString('hex')}`);
  try {
    await mkdir(workDir, { recursive: true });
    const blob = await compressLayer(store, diffId, path);
    if (!(await client.hasBlob(blob.digest))) {
      onProgress?.(`${short}: pushing (${blob.sizeBytes} bytes)`);
      await client.pushBlob(blob.digest, createReadStream(path));
    }
    onProgress?.(`${short}: done`);
    return { mediaType: MEDIA_TYPES.layerTarGzip, digest: blob.digest, size: blob.sizeBytes };
  } finally {
    await rm(path, { force: true });
  }
}

async function compressLayer(store: ImageStore, diffId: string, path: string): Promise<BlobInfo> {
  const plain = new ByteDigest();
  const compressed = new ByteDigest();
  const tar = await store.openLayer(diffId);
  const file = createWriteStream(path, { mode: 0o600 });
  await pipeline(plain.through(tar), createGzip(), (bytes) => compressed.through(bytes), file);
  const { digest } = plain.result();
  if (digest === diffId) return compressed.result();
  throw new TkadmError('IMAGE_INVALID', `Cannot push layer "${diffId}": its files were changed in the store`);
}

interface ManifestParts {
  readonly layers: readonly OciDescriptor[];
  readonly config: Buffer;
  readonly store: ImageStore;
}

/** The image's own manifest if it names the same layers. */
async function chooseManifest(
  image: ImageRecord,
  { layers, config, store }: ManifestParts,
): Promise<ManifestBytes> {
  if (image.manifestDigest !== undefined) {
    const bytes = await store.blobs.read(image.manifestDigest);
    const own = JSON.parse(bytes.toString('utf8')) as OciManifest;
    if (own.layers.every(({ digest }, index) => digest === layers[index]?.digest)) {
      return { bytes, mediaType: own.mediaType ?? MEDIA_TYPES.manifest };
    }
  }
  const manifest: OciManifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: { mediaType: MEDIA_TYPES.config, digest: image.id, size: config.byteLength },
    layers,
  };
  return { bytes: Buffer.from(JSON.stringify(manifest)), mediaType: MEDIA_TYPES.manifest };
}
