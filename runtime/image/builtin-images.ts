import { realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { TkadmError } from '../base/errors.ts';
import { readFileIfExists } from '../base/files.ts';
import { encodeTarHeader, TAR_END, tarPadding } from '../base/tar-header.ts';
import { layerDescriptor } from './archive.ts';
import type { OciExecutionConfig, OciImageConfig, OciManifest } from './oci-image.ts';
import { MEDIA_TYPES } from './oci-image.ts';
import type { ImageRecord, ImageStore } from './store.ts';

/** `image.json` of a node bundle. `rootfs` is relative to the file's real directory. */
interface BundleImage {
  readonly layer: {
    readonly digest: string;
    readonly diffId: string;
    readonly sizeBytes: number;
    readonly rootfs: string;
  };
  readonly names: readonly string[];
  /** The whole image configuration, or its execution parameters alone. */
  readonly config: Partial<OciImageConfig> & OciExecutionConfig;
}

/** The name of the sandbox image. */
export const PAUSE_IMAGE = 'tkadm.local/pause:3.10';

/**
 * Registers the images of the node bundle at `path` (a directory with image.json) without a copy; undefined when
 * there is no bundle.
 * @throws IMAGE_INVALID when image.json cannot be used.
 */
export async function registerBundle(
  store: ImageStore,
  path: string,
  architecture: string,
): Promise<ImageRecord | undefined> {
  const text = await readFileIfExists(join(path, 'image.json'));
  if (text === undefined) return undefined;
  const file = await realpath(join(path, 'image.json'));
  let bundle: BundleImage;
  try {
    bundle = JSON.parse(text) as BundleImage;
  } catch (error) {
    throw new TkadmError('IMAGE_INVALID', `Cannot read "${file}": ${(error as Error).message}`, {
      cause: error,
    });
  }
  const { rootfs: _rootfs, ...config } = bundle.config.config
    ? (bundle.config as OciImageConfig)
    : { config: bundle.config, rootfs: undefined };
  const { digest, diffId, sizeBytes } = bundle.layer;
  return store.registerDirectory({
    directory: await realpath(join(dirname(file), bundle.layer.rootfs)),
    digest,
    diffId,
    sizeBytes,
    config: { architecture, os: 'linux', ...config },
    names: bundle.names,
  });
}

/** Adds the sandbox image: the program and empty directories for the mounts of a container. */
export async function addPauseImage(
  store: ImageStore,
  program: Uint8Array,
  architecture: string,
): Promise<ImageRecord> {
  const directories = ['dev', 'etc', 'proc', 'sys', 'tmp'].map((name) =>
    encodeTarHeader({ name: `${name}/`, type: 'directory', mode: 0o755 }),
  );
  const sizeBytes = program.byteLength;
  const header = encodeTarHeader({ name: 'pause', type: 'file', mode: 0o755, sizeBytes });
  const tar = Buffer.concat([...directories, header, program, tarPadding(sizeBytes), TAR_END]);
  return addSingleLayerImage(store, tar, {
    architecture,
    names: [PAUSE_IMAGE],
    config: { Entrypoint: ['/pause'], Env: ['PATH=/'], User: '65535:65535' },
  });
}

export interface SingleLayerOptions {
  readonly architecture: string;
  readonly names: readonly string[];
  readonly config: OciExecutionConfig;
  /** Default: true. */
  readonly isPinned?: boolean;
}

/** Makes an image of one layer tar, plain or compressed. */
export async function addSingleLayerImage(
  store: ImageStore,
  tar: Uint8Array,
  options: SingleLayerOptions,
): Promise<ImageRecord> {
  const layer = await store.importLayer(Readable.from([tar]));
  const config: OciImageConfig = {
    architecture: options.architecture,
    os: 'linux',
    config: options.config,
    rootfs: { type: 'layers', diff_ids: [layer.diffId] },
  };
  const configBytes = Buffer.from(JSON.stringify(config));
  const { digest } = await store.blobs.put(Readable.from([configBytes]));
  const manifest: OciManifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: { mediaType: MEDIA_TYPES.config, digest, size: configBytes.byteLength },
    layers: [layerDescriptor(layer)],
  };
  return store.putManifest({
    manifest: Buffer.from(JSON.stringify(manifest)),
    config: configBytes,
    names: options.names,
    isPinned: options.isPinned ?? true,
    // The service makes it anew when it is not there.
    isReplaceable: true,
  });
}
