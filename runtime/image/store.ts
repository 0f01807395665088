import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { Logger } from '../base/log.ts';
import type { BlobStore } from './blobs.ts';
import { FileImageStore } from './file-store.ts';
import { readBootId } from './fresh-layers.ts';
import type { ImageIndex, IndexDocument } from './image-index.ts';
import type { Inodes } from './inodes.ts';
import type { ImportLayerOptions, LayerRecord } from './layers.ts';
import type { OciImageConfig } from './oci-image.ts';

/** One layer of an image; `directory` is set when its files are outside the store. */
export interface ImageLayer {
  readonly digest: string;
  readonly diffId: string;
  readonly sizeBytes: number;
  readonly directory?: string | undefined;
}

export interface ImageRecord {
  /** Digest of the image configuration, "sha256:<hex>": CRI's image id. */
  readonly id: string;
  readonly manifestDigest?: string | undefined;
  /** Full names with tag, "docker.io/library/busybox:latest". */
  readonly repoTags: readonly string[];
  /** Full names with the manifest's digest. */
  readonly repoDigests: readonly string[];
  /** Of the unpacked files of all layers. */
  readonly sizeBytes: number;
  /** Bottom first, as in the configuration. */
  readonly layers: readonly ImageLayer[];
  readonly config: OciImageConfig;
  /** Recommended to be spared by garbage collection. */
  readonly isPinned: boolean;
  /** What the name leads to in a registry, of an image that was pulled for all its platforms. */
  readonly index?: ImageIndex | undefined;
}

export interface PutManifestOptions {
  /** The exact bytes: their digest is the manifest's. */
  readonly manifest: Uint8Array;
  readonly config: Uint8Array;
  /** Any form that parseReference takes; a name with a digest adds no tag. */
  readonly names: readonly string[];
  readonly isPinned?: boolean;
  /** The image could be had again after a loss of power: nobody waits until its layers are on disk. */
  readonly isReplaceable?: boolean;
  /** Its other images were put before. */
  readonly index?: IndexDocument | undefined;
}

export interface RegisterDirectoryOptions {
  readonly directory: string;
  readonly digest: string;
  readonly diffId: string;
  readonly sizeBytes: number;
  readonly config: Omit<OciImageConfig, 'rootfs'>;
  readonly names: readonly string[];
}

export interface ImageFsUsage {
  readonly path: string;
  readonly usedBytes: number;
  readonly inodes: number;
}

/**
 * The images of a node. Every change is on disk before it is visible, but for layers of replaceable images: after a loss
 * of power such an image may be gone, never damaged. What kill -9 leaves is cleared at the next start.
 */
export interface ImageStore {
  /** By name, name@digest, id, or a unique beginning of the id's hex digits. */
  resolve(reference: string): ImageRecord | undefined;
  /**
   * The image of the node bundle in use, for a name of one of its programs with whatever tag: pods of a cluster
   * whose nodes are of several versions name one of them (docs/decisions/upgrades.md).
   */
  findProgram(reference: string): ImageRecord | undefined;
  list(): readonly ImageRecord[];
  config(image: ImageRecord): OciImageConfig;
  /** The layers' directories, topmost first: overlayfs' order. */
  lowerDirs(image: ImageRecord): readonly string[];
  /** The directories of layers given bottom first, topmost first. */
  lowerDirsOf(diffIds: readonly string[]): readonly string[];
  /**
   * Removes the image with all its names and those of its index that have none, and layers that nothing else needs. No
   * error when absent.
   */
  remove(reference: string): Promise<void>;
  importLayer(stream: Readable, options?: ImportLayerOptions): Promise<LayerRecord>;
  /** An unpacked layer of the store. */
  layer(diffId: string): Promise<LayerRecord | undefined>;
  /** A layer's tar, not compressed, byte by byte as it was imported. @throws IMAGE_NOT_FOUND, IMAGE_INVALID */
  openLayer(diffId: string): Promise<Readable>;
  readonly blobs: BlobStore;
  /**
   * Adds an image whose layers were imported; its names move here from other images.
   * @throws IMAGE_INVALID when the manifest does not fit its configuration, or a layer is missing.
   */
  putManifest(options: PutManifestOptions): Promise<ImageRecord>;
  /** Adds an image whose one layer is a directory that stays where it is. */
  registerDirectory(options: RegisterDirectoryOptions): Promise<ImageRecord>;
  /** Gives an image one more name. @throws IMAGE_NOT_FOUND */
  tag(reference: string, name: string): Promise<ImageRecord>;
  /** Takes one name away; the image stays, also without any. @throws IMAGE_NOT_FOUND */
  untag(name: string): Promise<ImageRecord>;
  /** Keeps layers, given as their directories, until `release(owner)`, for example for a container. */
  retain(owner: string, directories: readonly string[]): void;
  release(owner: string): Promise<void>;
  /** True while an owner keeps all layers of the image, as a container does. */
  isInUse(image: ImageRecord): boolean;
  /**
   * Removes layers and blobs that no image, owner or running import needs. Layers that a killed import has left are
   * kept for the next one, for an hour, unless all are to go.
   */
  sweep(options?: { readonly isThorough?: boolean }): Promise<void>;
  fsUsage(): Promise<ImageFsUsage>;
}

export interface ImageStoreOptions {
  /** "/var/lib/tkadm/images" */
  readonly root: string;
  readonly log: Logger;
  readonly inodes?: Inodes;
  /** The machine's when undefined. */
  readonly bootId?: string;
  /** How long after a pull its layers are synced; 10 s when undefined. */
  readonly settleDelayMs?: number;
}

/** Opens the store at `root`, creating it when it is not there. */
export async function openImageStore(options: ImageStoreOptions): Promise<ImageStore> {
  await rm(join(options.root, 'tmp'), { recursive: true, force: true });
  const store = new FileImageStore({ ...options, bootId: options.bootId ?? (await readBootId()) });
  await store.load();
  return store;
}
