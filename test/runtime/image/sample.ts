import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { sha256Digest } from '../../../runtime/image/blobs.ts';
import { MEDIA_TYPES, type OciDescriptor } from '../../../runtime/image/oci-image.ts';

/** A tar of files by name; a name that ends with "/" is a directory, a link's content begins with "→". */
export async function makeTar(files: Readonly<Record<string, string | Buffer>>): Promise<Buffer> {
  const tar = pack();
  for (const [name, content] of Object.entries(files)) {
    const common = { name, mtime: new Date(0) };
    if (name.endsWith('/')) tar.entry({ ...common, type: 'directory', mode: 0o755 });
    else if (typeof content === 'string' && content.startsWith('→')) {
      tar.entry({ ...common, type: 'symlink', linkname: content.slice(1) });
    } else tar.entry({ ...common, mode: 0o644 }, content);
  }
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}

export interface SampleImage {
  readonly config: Buffer;
  readonly configDigest: string;
  readonly manifest: Buffer;
  readonly manifestDigest: string;
  /** Gzip. */
  readonly layer: Buffer;
  readonly layerDigest: string;
  /** Not compressed. */
  readonly tar: Buffer;
}

/** An image with one file, "hello", that holds `text`. */
export async function makeImage(text: string, architecture = 'amd64'): Promise<SampleImage> {
  const tar = await makeTar({ 'etc/': '', hello: text });
  const layer = gzipSync(tar);
  const layerDigest = sha256Digest(layer);
  const config = Buffer.from(
    JSON.stringify({
      architecture,
      os: 'linux',
      config: { Cmd: ['/hello'] },
      rootfs: { type: 'layers', diff_ids: [sha256Digest(tar)] },
    }),
  );
  const configDigest = sha256Digest(config);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.manifest,
      config: { mediaType: MEDIA_TYPES.config, digest: configDigest, size: config.length },
      layers: [{ mediaType: MEDIA_TYPES.layerTarGzip, digest: layerDigest, size: layer.length }],
    }),
  );
  return { config, configDigest, manifest, manifestDigest: sha256Digest(manifest), layer, layerDigest, tar };
}

/** An OCI index of images by architecture. */
export function makeIndex(images: Readonly<Record<string, SampleImage>>): Buffer {
  const manifests = Object.entries(images).map(
    ([architecture, { manifest, manifestDigest }]): OciDescriptor => ({
      mediaType: MEDIA_TYPES.manifest,
      digest: manifestDigest,
      size: manifest.length,
      platform: { os: 'linux', architecture },
    }),
  );
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests }));
}
