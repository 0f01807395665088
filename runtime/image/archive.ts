import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { TkadmError } from '../base/errors.ts';
import { sha256Digest } from './blobs.ts';
import { MEDIA_TYPES, type OciDescriptor, type OciImageConfig, type OciManifest } from './oci-image.ts';
import type { ImageRecord, ImageStore } from './store.ts';

/** A name inside an archive: plain components only, nothing that leads out. */
const SAFE_NAME = /^(?!\/)(?!.*(^|\/)\.\.(\/|$))[\w./:@+-]+$/;

/**
 * Adds the images of a docker-archive (`docker save`, manifest.json) or an OCI layout in a tar (index.json),
 * plain or gzip.
 * @throws IMAGE_INVALID when it is neither.
 */
export async function loadArchive(
  store: ImageStore,
  archive: Readable,
  temporaryRoot: string,
): Promise<readonly ImageRecord[]> {
  const directory = join(temporaryRoot, `load-${randomBytes(6).toString('hex')}`);
  await mkdir(directory, { recursive: true });
  try {
    const names = await unpackArchive(archive, directory);
    if (names.has('manifest.json')) return await loadDockerArchive(store, directory);
    if (names.has('index.json')) return await loadOciLayout(store, directory);
    throw new TkadmError(
      'IMAGE_INVALID',
      'Cannot load the archive: it has neither manifest.json nor index.json',
    );
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Writes the regular files of the archive; links (old docker-archives have some) are followed by name. */
async function unpackArchive(archive: Readable, directory: string): Promise<ReadonlySet<string>> {
  const names = new Set<string>();
  const entries = extract();
  const body = await gunzipIfNeeded(archive);
  const reading = pipeline(body, entries);
  reading.catch(() => {});
  for await (const entry of entries) {
    const name = entry.header.name.replace(/^\.\//, '').replace(/\/$/, '');
    if (entry.header.type === 'file') {
      if (!SAFE_NAME.test(name))
        throw new TkadmError('IMAGE_INVALID', `Cannot load the archive: it has a file named "${name}"`);
      const path = join(directory, name);
      await mkdir(dirname(path), { recursive: true });
      await pipeline(entry, createWriteStream(path, { flags: 'wx' }));
      names.add(name);
    } else entry.resume();
  }
  await reading;
  return names;
}

async function gunzipIfNeeded(stream: Readable): Promise<NodeJS.ReadableStream> {
  const iterator = stream[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done) throw new TkadmError('IMAGE_INVALID', 'Cannot load the archive: it is empty');
  const head = first.value as Buffer;
  stream.unshift(head);
  return head[0] === 0x1f && head[1] === 0x8b ? stream.pipe(createGunzip()) : stream;
}

interface DockerArchiveEntry {
  readonly Config: string;
  readonly RepoTags: readonly string[] | null;
  readonly Layers: readonly string[];
}

async function loadDockerArchive(store: ImageStore, directory: string): Promise<readonly ImageRecord[]> {
  const entries = JSON.parse(
    await readFile(join(directory, 'manifest.json'), 'utf8'),
  ) as readonly DockerArchiveEntry[];
  const images: ImageRecord[] = [];
  for (const entry of entries) {
    const config = await readFile(archivePath(directory, entry.Config));
    const { rootfs } = JSON.parse(config.toString('utf8')) as OciImageConfig;
    const layers: OciDescriptor[] = [];
    for (const [index, name] of entry.Layers.entries()) {
      const diffId = rootfs.diff_ids[index];
      const record =
        (diffId && (await store.layer(diffId))) ||
        (await store.importLayer(createReadStream(archivePath(directory, name)), { diffId }));
      layers.push({ mediaType: MEDIA_TYPES.layerTar, digest: record.diffId, size: record.sizeBytes });
    }
    images.push(await putImage(store, { config, layers, names: entry.RepoTags ?? [] }));
  }
  return images;
}

async function loadOciLayout(store: ImageStore, directory: string): Promise<readonly ImageRecord[]> {
  const index = JSON.parse(await readFile(join(directory, 'index.json'), 'utf8')) as {
    manifests: readonly OciDescriptor[];
  };
  const blob = (digest: string) => archivePath(directory, `blobs/${digest.replace(':', '/')}`);
  const images: ImageRecord[] = [];
  for (const descriptor of index.manifests) {
    const manifest = await readFile(blob(descriptor.digest));
    const { config, layers } = JSON.parse(manifest.toString('utf8')) as OciManifest;
    if (!config || !layers)
      throw new TkadmError('IMAGE_INVALID', 'Cannot load the archive: nested indexes are not supported');
    for (const layer of layers)
      await store.importLayer(createReadStream(blob(layer.digest)), { digest: layer.digest });
    const name =
      descriptor.annotations?.['io.containerd.image.name'] ??
      descriptor.annotations?.['org.opencontainers.image.ref.name'];
    images.push(
      await store.putManifest({
        manifest,
        config: await readFile(blob(config.digest)),
        names: name ? [name] : [],
      }),
    );
  }
  return images;
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

function archivePath(directory: string, name: string): string {
  if (!SAFE_NAME.test(name))
    throw new TkadmError('IMAGE_INVALID', `Cannot load the archive: it names "${name}"`);
  return join(directory, name);
}
