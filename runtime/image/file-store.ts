import { existsSync } from 'node:fs';
import { chmod, mkdir } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { TkadmError } from '../base/errors.ts';
import { BlobStore, checkDigest, sha256Digest } from './blobs.ts';
import { findImage, namesProgramOf } from './find-image.ts';
import { type ImageIndex, type IndexDocument, indexMembers, isIndexMember } from './image-index.ts';
import { checkRemovable, nameImage, takeTags } from './image-names.ts';
import { ImageRecords } from './image-records.ts';
import { loadInodes } from './inodes.ts';
import { LateSettling } from './late-settling.ts';
import { LayerOwners } from './layer-owners.ts';
import { type ImportLayerOptions, type LayerRecord, LayerStore } from './layers.ts';
import type { OciImageConfig, OciManifest } from './oci-image.ts';
import { checkLayerCount, parseImageConfig, parseManifest } from './parse-image.ts';
import { normalizeReference } from './reference.ts';
import type {
  ImageFsUsage,
  ImageLayer,
  ImageRecord,
  ImageStore,
  ImageStoreOptions,
  PutManifestOptions,
  RegisterDirectoryOptions,
} from './store.ts';

const SETTLE_DELAY_MS = 10_000;
/** Of this process's life. */
const LEFT_KEPT_MS = 3600e3;
/** A page holds some 50 of the long paths. */
const MAX_LONG_PATHS = 40;
const EMPTY_NAMES = { repoTags: [], repoDigests: [] } as const;

/** The store over its files: those of ImageRecords, BlobStore and LayerStore. */
export class FileImageStore implements ImageStore {
  readonly blobs: BlobStore;
  readonly #root: string;
  readonly #layers: LayerStore;
  readonly #records: ImageRecords;
  readonly #owners = new LayerOwners();
  readonly #settling: LateSettling;
  /** diffIds of layers imported by this process whose manifest did not follow yet. */
  readonly #imported = new Set<string>();
  /** diffIds of whole layers that an earlier process has left without a manifest. */
  readonly #left = new Set<string>();
  #queue: Promise<unknown> = Promise.resolve();
  /** Id of the directory image that was registered last: that of the node bundle in use. */
  #bundle: string | undefined;

  constructor(options: ImageStoreOptions & { readonly bootId: string }) {
    this.#root = options.root;
    this.#records = new ImageRecords(options.root, options.log);
    this.blobs = new BlobStore(options.root);
    this.#layers = new LayerStore(options.root, options.inodes ?? loadInodes(), options.bootId);
    this.#settling = new LateSettling({
      settle: (diffIds) => this.#layers.settle(diffIds),
      delayMs: options.settleDelayMs ?? SETTLE_DELAY_MS,
      log: options.log,
    });
  }

  async load(): Promise<void> {
    await mkdir(this.#root, { recursive: true });
    // Layers hold programs with set-user-id and device files, which are no business of the node's users.
    await chmod(this.#root, 0o700);
    await this.blobs.prepare();
    for (const diffId of await this.#layers.prepare()) this.#left.add(diffId);
    await this.#records.load((record) => this.#findLost(record));
    this.#settling.add(this.list().flatMap(({ layers }) => layers.map(({ diffId }) => diffId)));
  }

  async #findLost({ layers }: ImageRecord): Promise<string | undefined> {
    for (const { diffId, directory } of layers)
      if (directory === undefined && !(await this.#layers.get(diffId))) return diffId;
    return undefined;
  }

  list(): readonly ImageRecord[] {
    return this.#records.list();
  }

  config(image: ImageRecord): OciImageConfig {
    return image.config;
  }

  lowerDirs(image: ImageRecord): readonly string[] {
    const find = this.#pathsOf(image.layers.length);
    return image.layers.map((layer) => layer.directory ?? find(layer.diffId)).reverse();
  }

  lowerDirsOf(diffIds: readonly string[]): readonly string[] {
    const external = new Map(
      this.list().flatMap((image) => image.layers.map((layer) => [layer.diffId, layer.directory])),
    );
    const find = this.#pathsOf(diffIds.length);
    return diffIds.map((diffId) => external.get(diffId) ?? find(diffId)).reverse();
  }

  /** Of an image with many layers the short paths: mount(2) takes one page of options. */
  #pathsOf(layerCount: number): (diffId: string) => string {
    return layerCount > MAX_LONG_PATHS
      ? (diffId) => this.#layers.shortPath(diffId)
      : (diffId) => this.#layers.diffPath(diffId);
  }

  resolve(reference: string): ImageRecord | undefined {
    return findImage(this.#records.byId, reference);
  }

  findProgram(reference: string): ImageRecord | undefined {
    const bundle = this.#records.byId.get(this.#bundle ?? '');
    return bundle && namesProgramOf(bundle, reference) ? bundle : undefined;
  }

  async remove(reference: string): Promise<void> {
    await this.#exclusively(async () => {
      const image = this.resolve(reference);
      if (image === undefined) return;
      if (!this.#isLeftBundle(image)) checkRemovable(image, reference, image.repoTags);
      await this.#records.forget(image);
      for (const other of image.index === undefined ? [] : indexMembers(this, image.index)) {
        const isNamed = other.repoTags.length > 0 || isIndexMember(this.list(), other);
        if (!isNamed && !this.isInUse(other)) await this.#records.forget(other);
      }
      await this.#sweepNow();
    });
  }

  async importLayer(stream: Readable, options: ImportLayerOptions = {}): Promise<LayerRecord> {
    if (options.diffId !== undefined) this.#imported.add(options.diffId);
    const onUnpacked = (layer: LayerRecord) => {
      this.#imported.add(layer.diffId);
      options.onUnpacked?.(layer);
    };
    return this.#layers.import(stream, { ...options, onUnpacked });
  }

  layer(diffId: string): Promise<LayerRecord | undefined> {
    return this.#layers.get(diffId);
  }

  async openLayer(diffId: string): Promise<Readable> {
    const layer = await this.layer(diffId);
    if (layer !== undefined) return this.#layers.open(layer);
    throw new TkadmError('IMAGE_NOT_FOUND', `Cannot read layer "${diffId}": it is not in the store`);
  }

  async putManifest(options: PutManifestOptions): Promise<ImageRecord> {
    const id = sha256Digest(options.config);
    const name = options.names[0] ?? id;
    const manifest = parseManifest(options.manifest, name);
    const config = parseImageConfig(options.config, name);
    checkLayerCount(manifest, config, name);
    const manifestDigest = sha256Digest(options.manifest);
    checkDigest(id, manifest.config?.digest);
    const layers = await this.#manifestLayers(manifest, config);
    const diffIds = layers.map(({ diffId }) => diffId);
    if (options.isReplaceable) this.#settling.add(diffIds);
    else await this.#layers.settle(diffIds);
    const record = await this.#exclusively(async () => {
      await this.blobs.put(Readable.from([options.config]), id);
      await this.blobs.put(Readable.from([options.manifest]), manifestDigest);
      const index = options.index && (await this.#putIndex(options.index));
      const { isPinned = false } = options;
      return this.#put(
        { id, manifestDigest, layers, config, isPinned, index, ...EMPTY_NAMES },
        options.names,
      );
    });
    for (const diffId of diffIds) {
      this.#imported.delete(diffId);
      this.#left.delete(diffId);
    }
    return record;
  }

  async #putIndex({ bytes, ...index }: IndexDocument): Promise<ImageIndex> {
    await this.blobs.put(Readable.from([bytes]), index.digest);
    return index;
  }

  async registerDirectory(options: RegisterDirectoryOptions): Promise<ImageRecord> {
    const { directory, digest, diffId, sizeBytes } = options;
    const config: OciImageConfig = { ...options.config, rootfs: { type: 'layers', diff_ids: [diffId] } };
    const layers = [{ digest, diffId, sizeBytes, directory }];
    const id = sha256Digest(JSON.stringify(config));
    return this.#exclusively(async () => {
      const record = await this.#put({ id, layers, config, isPinned: true, ...EMPTY_NAMES }, options.names);
      this.#bundle = record.id;
      await this.#dropLeftBundles();
      return record;
    });
  }

  async tag(reference: string, name: string): Promise<ImageRecord> {
    return this.#exclusively(async () => {
      const image = this.resolve(reference);
      if (image === undefined) {
        throw new TkadmError('IMAGE_NOT_FOUND', `Cannot tag "${reference}": no such image`, {
          hint: 'tkadm image ls',
        });
      }
      const tagged = this.resolve(name);
      if (tagged !== undefined && tagged.id !== image.id)
        checkRemovable(tagged, name, [normalizeReference(name)]);
      return this.#put(image, [name]);
    });
  }

  async untag(name: string): Promise<ImageRecord> {
    return this.#exclusively(async () => {
      const tag = normalizeReference(name);
      const image = this.list().find((candidate) => candidate.repoTags.includes(tag));
      if (image === undefined) {
        throw new TkadmError('IMAGE_NOT_FOUND', `Cannot untag "${name}": no such image`);
      }
      checkRemovable(image, name, [tag]);
      const record = { ...image, repoTags: image.repoTags.filter((other) => other !== tag) };
      await this.#records.write(record);
      return record;
    });
  }

  retain(owner: string, directories: readonly string[]): void {
    this.#owners.retain(owner, directories);
  }

  isInUse(image: ImageRecord): boolean {
    return this.#owners.holdsAll(this.lowerDirs(image));
  }

  async release(owner: string): Promise<void> {
    const held = this.#owners.release(owner);
    const known = new Set(this.list().flatMap((image) => this.lowerDirs(image)));
    if (held.some((directory) => !known.has(directory))) await this.sweep();
  }

  async sweep({ isThorough = false } = {}): Promise<void> {
    await this.#exclusively(async () => {
      if (isThorough || performance.now() > LEFT_KEPT_MS) this.#left.clear();
      await this.#sweepNow();
    });
  }

  async fsUsage(): Promise<ImageFsUsage> {
    const layers = await Promise.all((await this.#layers.list()).map((diffId) => this.#layers.get(diffId)));
    const sum = (pick: (layer: LayerRecord) => number) =>
      layers.reduce((total, layer) => total + (layer === undefined ? 0 : pick(layer)), 0);
    return {
      path: this.#root,
      usedBytes: sum((layer) => layer.sizeBytes),
      inodes: sum((layer) => layer.inodes),
    };
  }

  async #manifestLayers(manifest: OciManifest, config: OciImageConfig): Promise<readonly ImageLayer[]> {
    const diffIds = config.rootfs.diff_ids;
    return Promise.all(
      diffIds.map(async (diffId, index) => {
        const layer = await this.#layers.get(diffId);
        if (layer === undefined) {
          throw new TkadmError('IMAGE_INVALID', `Cannot add image: layer "${diffId}" is not in the store`);
        }
        return { digest: manifest.layers[index]!.digest, diffId, sizeBytes: layer.sizeBytes };
      }),
    );
  }

  /** Stores a record with `names` besides those it has. */
  async #put(image: Omit<ImageRecord, 'sizeBytes'>, names: readonly string[]): Promise<ImageRecord> {
    const record = nameImage(image, this.#records.byId.get(image.id), names);
    await this.#records.write(record);
    for (const other of takeTags(this.list(), record)) await this.#records.write(other);
    return record;
  }

  /** A bundle that is not the one in use: an upgrade removes it. */
  #isLeftBundle(image: ImageRecord): boolean {
    return image.id !== this.#bundle && image.layers.some(({ directory }) => directory !== undefined);
  }

  /** A directory image without a name is one of an earlier bundle; so is one whose directory is gone. */
  async #dropLeftBundles(): Promise<void> {
    for (const image of this.list()) {
      const directories = image.layers.flatMap((layer) => layer.directory ?? []);
      const isBundle = directories.length === image.layers.length && directories.length > 0;
      if (!isBundle || (image.repoTags.length > 0 && directories.every((path) => existsSync(path)))) continue;
      await this.#records.forget(image);
    }
  }

  async #sweepNow(): Promise<void> {
    const used = new Set(this.list().flatMap((image) => image.layers.map((layer) => layer.diffId)));
    for (const diffId of await this.#layers.list()) {
      // Asked anew for each: an owner may come while others are removed.
      const isHeld = this.#owners.holdsAny(this.#layers.pathsOf(diffId));
      const isAwaited = this.#imported.has(diffId) || this.#left.has(diffId);
      if (!isHeld && !used.has(diffId) && !isAwaited) await this.#layers.remove(diffId);
    }
    const blobs = new Set(this.list().flatMap(blobsOf));
    for (const digest of await this.blobs.list()) if (!blobs.has(digest)) await this.blobs.remove(digest);
  }

  async #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => {});
    return result;
  }
}

function blobsOf(image: ImageRecord): readonly string[] {
  return [image.id, image.manifestDigest ?? image.id, image.index?.digest ?? image.id];
}
