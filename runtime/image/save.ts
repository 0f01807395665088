import { Readable } from 'node:stream';
import { TkadmError } from '../base/errors.ts';
import { encodeTarHeader, TAR_BLOCK_BYTES, TAR_END, tarPadding } from '../base/tar-header.ts';
import { sha256Digest } from './blobs.ts';
import { MEDIA_TYPES, type OciDescriptor, type OciManifest } from './oci-image.ts';
import { requireOwnFiles } from './push.ts';
import { normalizeReference } from './reference.ts';
import type { ImageRecord, ImageStore } from './store.ts';

/** A file of the archive; `open` gives exactly `sizeBytes`. */
interface ArchiveFile {
  readonly name: string;
  readonly sizeBytes: number;
  readonly open: () => Promise<AsyncIterable<Uint8Array>>;
}

/**
 * Images as one archive that both docker load (manifest.json) and readers of OCI layouts (index.json, image-spec
 * image-layout.md) understand: blobs by digest, layers not compressed. A name saves the image with this name, an id
 * with all its names.
 * @throws IMAGE_NOT_FOUND, UNSUPPORTED for the images of the node bundle; errors on the way end the stream.
 */
export async function saveImages(store: ImageStore, names: readonly string[]): Promise<Readable> {
  const files = new Map<string, ArchiveFile>();
  const docker: object[] = [];
  const manifests: OciDescriptor[] = [];
  for (const name of names) {
    const image = find(store, name);
    const tags = image.id.includes(name) ? image.repoTags : [normalizeReference(name)];
    const saved = await describe(store, image);
    for (const file of saved.files) files.set(file.name, file);
    docker.push({ Config: blobName(image.id), RepoTags: tags, Layers: saved.layerNames });
    const annotations = (tag: string) => ({
      'io.containerd.image.name': tag,
      'org.opencontainers.image.ref.name': tag,
    });
    if (tags.length === 0) manifests.push(saved.manifest);
    for (const tag of tags) manifests.push({ ...saved.manifest, annotations: annotations(tag) });
  }
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests };
  const all = [
    bytesFile('oci-layout', JSON.stringify({ imageLayoutVersion: '1.0.0' })),
    ...files.values(),
    bytesFile('index.json', JSON.stringify(index)),
    bytesFile('manifest.json', JSON.stringify(docker)),
  ];
  return Readable.from(writeArchive(all), { objectMode: false });
}

function find(store: ImageStore, name: string): ImageRecord {
  const image = store.resolve(name);
  if (image === undefined) {
    throw new TkadmError('IMAGE_NOT_FOUND', `Cannot save "${name}": no such image`, {
      hint: 'tkadm image ls',
    });
  }
  requireOwnFiles(image, `Cannot save "${name}"`);
  return image;
}

async function describe(store: ImageStore, image: ImageRecord) {
  const config = await store.blobs.read(image.id);
  const files = [bytesFile(blobName(image.id), config)];
  const layers: OciDescriptor[] = [];
  for (const { diffId } of image.layers) {
    const layer = await store.layer(diffId);
    if (layer === undefined)
      throw new TkadmError('IMAGE_NOT_FOUND', `Cannot save layer "${diffId}": it is gone`);
    layers.push({ mediaType: MEDIA_TYPES.layerTar, digest: diffId, size: layer.tarBytes });
    files.push({ name: blobName(diffId), sizeBytes: layer.tarBytes, open: () => store.openLayer(diffId) });
  }
  const manifest: OciManifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: { mediaType: MEDIA_TYPES.config, digest: image.id, size: config.byteLength },
    layers,
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const digest = sha256Digest(bytes);
  files.push(bytesFile(blobName(digest), bytes));
  return {
    files,
    layerNames: layers.map((layer) => blobName(layer.digest)),
    manifest: { mediaType: MEDIA_TYPES.manifest, digest, size: bytes.byteLength } satisfies OciDescriptor,
  };
}

function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

function bytesFile(name: string, content: string | Buffer): ArchiveFile {
  const bytes = Buffer.from(content);
  return {
    name,
    sizeBytes: bytes.byteLength,
    open: async () => Readable.from([bytes]),
  };
}

async function* writeArchive(files: readonly ArchiveFile[]): AsyncGenerator<Uint8Array> {
  for (const { name, sizeBytes, open } of files) {
    yield encodeTarHeader({ name, type: 'file', mode: 0o644, sizeBytes });
    yield* await open();
    if (sizeBytes % TAR_BLOCK_BYTES !== 0) yield tarPadding(sizeBytes);
  }
  yield TAR_END;
}
