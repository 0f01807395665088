import { randomBytes } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { TkadmError } from '../base/errors.ts';
import { type ArchiveFiles, unpackArchive } from './archive-files.ts';
import { checkDigest, sha256Digest } from './blobs.ts';
import type { Compression } from './decompress.ts';
import type { LayerRecord } from './layers.ts';
import { MEDIA_TYPES, type OciDescriptor, type OciManifest } from './oci-image.ts';
import { checkLayerCount, parseImageConfig, parseManifest, parseManifestDocument } from './parse-image.ts';
import { choosePlatform, isIndex } from './platform.ts';
import type { ImageRecord, ImageStore } from './store.ts';

export interface LoadOptions {
  /** For the files of the archive while it is read. */
  readonly workDir: string;
  /** "amd64", "arm64": which manifest of an index is taken. */
  readonly architecture: string;
}

/**
 * Adds the images of a docker-archive (`docker save`, manifest.json) or an OCI layout in a tar (index.json),
 * plain, gzip or zstd.
 * @throws IMAGE_INVALID when it is neither.
 */
export async function loadArchive(
  store: ImageStore,
  archive: Readable,
  { workDir, architecture }: LoadOptions,
): Promise<readonly ImageRecord[]> {
  const directory = join(workDir, `load-${randomBytes(6).toString('hex')}`);
  try {
    const files = await unpackArchive(archive, directory);
    if (files.has('manifest.json')) return await loadDockerArchive(store, files);
    if (files.has('index.json')) return await loadOciLayout(store, files, architecture);
    throw new TkadmError(
      'IMAGE_INVALID',
      'Cannot load the archive: it has neither manifest.json nor index.json',
    );
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

interface DockerArchiveEntry {
  readonly Config: string;
  readonly RepoTags: readonly string[] | null;
  readonly Layers: readonly string[];
}

async function loadDockerArchive(store: ImageStore, files: ArchiveFiles): Promise<readonly ImageRecord[]> {
  const images: ImageRecord[] = [];
  for (const entry of await readDockerManifest(files)) {
    const config = await readFile(files.path(entry.Config));
    const { rootfs } = parseImageConfig(config, entry.RepoTags?.[0] ?? entry.Config);
    if (rootfs.diff_ids.length !== entry.Layers.length)
      throw damaged('its layers do not fit its configuration');
    const layers: OciDescriptor[] = [];
    for (const [index, name] of entry.Layers.entries()) {
      const diffId = rootfs.diff_ids[index]!;
      const present = await store.layer(diffId);
      const read = () => store.importLayer(files.open(name), { diffId });
      layers.push(layerDescriptor(present ?? (await read())));
    }
    images.push(await putImage(store, { config, layers, names: entry.RepoTags ?? [] }));
  }
  return images;
}

async function readDockerManifest(files: ArchiveFiles): Promise<readonly DockerArchiveEntry[]> {
  const rows = await readJson(files, 'manifest.json');
  const isTexts = (value: unknown) => Array.isArray(value) && value.every((item) => typeof item === 'string');
  const isRow = (row: Partial<DockerArchiveEntry> | null) =>
    typeof row?.Config === 'string' && isTexts(row.Layers) && (row.RepoTags == null || isTexts(row.RepoTags));
  if (Array.isArray(rows) && rows.every(isRow)) return rows as readonly DockerArchiveEntry[];
  throw damaged('"manifest.json" is no list of images');
}

/** Names a layer in a manifest as it was imported. */
export function layerDescriptor({ digest, diffId, blobBytes, compression }: LayerRecord): OciDescriptor {
  const known = compression ?? (digest === diffId ? 'none' : 'gzip');
  return { mediaType: LAYER_TYPES[known], digest, size: blobBytes };
}

const LAYER_TYPES = {
  none: MEDIA_TYPES.layerTar,
  gzip: MEDIA_TYPES.layerTarGzip,
  zstd: MEDIA_TYPES.layerTarZstd,
} as const satisfies Record<Compression, string>;

async function loadOciLayout(
  store: ImageStore,
  files: ArchiveFiles,
  architecture: string,
): Promise<readonly ImageRecord[]> {
  const { manifests = [] } = parseManifestDocument(await readFile(files.path('index.json')), 'index.json');
  const images: ImageRecord[] = [];
  for (const descriptor of manifests) {
    const names = imageNames(descriptor);
    const name = names[0] ?? descriptor.digest;
    const bytes = await readManifest(files, descriptor, name, architecture);
    const manifest = parseManifest(bytes, name);
    const configBytes = await readBlob(files, manifest.config.digest);
    const config = parseImageConfig(configBytes, name);
    checkLayerCount(manifest, config, name);
    for (const [position, { digest }] of manifest.layers.entries()) {
      const diffId = config.rootfs.diff_ids[position]!;
      if (await store.layer(diffId)) continue;
      await store.importLayer(files.open(blobName(digest)), { digest, diffId });
    }
    images.push(await store.putManifest({ manifest: bytes, config: configBytes, names }));
  }
  return images;
}

/** The manifest that a descriptor leads to; of an index the one of this machine's platform. */
async function readManifest(
  files: ArchiveFiles,
  descriptor: OciDescriptor,
  name: string,
  architecture: string,
): Promise<Buffer> {
  const bytes = await readBlob(files, descriptor.digest);
  const document = parseManifestDocument(bytes, name);
  if (!isIndex(document, descriptor.mediaType)) return bytes;
  return readBlob(files, choosePlatform(name, document.manifests, architecture).digest);
}

/** containerd's full name, else the OCI annotation when it is more than a tag. */
function imageNames({ annotations }: OciDescriptor): readonly string[] {
  if (!annotations) return [];
  const full = annotations['io.containerd.image.name'];
  const name = annotations['org.opencontainers.image.ref.name'];
  if (full) return [full];
  return name && /[:/]/.test(name) ? [name] : [];
}

async function readBlob(files: ArchiveFiles, digest: string): Promise<Buffer> {
  const bytes = await readFile(files.path(blobName(digest)));
  checkDigest(sha256Digest(bytes), digest);
  return bytes;
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

async function readJson(files: ArchiveFiles, name: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(files.path(name), 'utf8'));
  } catch (error) {
    throw error instanceof SyntaxError ? damaged(`"${name}" is no JSON`) : error;
  }
}

function damaged(state: string): TkadmError {
  return new TkadmError('IMAGE_INVALID', `Cannot load the archive: ${state}`);
}

export interface NewImage {
  readonly config: Uint8Array;
  readonly layers: readonly OciDescriptor[];
  readonly names: readonly string[];
}

/** Adds an image that has no manifest of its own yet. */
export async function putImage(store: ImageStore, { config, layers, names }: NewImage): Promise<ImageRecord> {
  const manifest: OciManifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: { mediaType: MEDIA_TYPES.config, digest: sha256Digest(config), size: config.byteLength },
    layers,
  };
  return store.putManifest({ manifest: Buffer.from(JSON.stringify(manifest)), config, names });
}
