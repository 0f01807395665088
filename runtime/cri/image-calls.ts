import { readFile, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { Readable } from 'node:stream';
import { isTkadmError, TkadmError } from '../base/errors.ts';
import { readFileIfExists } from '../base/files.ts';
import type { ContainerEngine } from '../container/engine.ts';
import { loadArchive } from '../image/archive.ts';
import { buildImage } from '../image/build/build.ts';
import type { BuildCache } from '../image/build/cache.ts';
import { CacheLocks } from '../image/build/step-mounts.ts';
import type { StorageDriver } from '../image/container-files.ts';
import { isIndexMember, listIndex } from '../image/image-index.ts';
import { loadInodes } from '../image/inodes.ts';
import type { RegistryPuller } from '../image/pull.ts';
import { pushImage } from '../image/push.ts';
import { normalizeReference } from '../image/reference.ts';
import { saveImages } from '../image/save.ts';
import type { ImageRecord, ImageStore } from '../image/store.ts';
import { createStepRunner } from './build-runner.ts';
import type {
  BuildRequest,
  ImageSummary,
  PruneRequest,
  PullRequest,
  SaveRequest,
  TagRequest,
} from './image-messages.ts';
import type { ImageHandlers } from './image-socket.ts';

export interface ImageCallOptions {
  readonly store: ImageStore;
  readonly puller: RegistryPuller;
  readonly engine: ContainerEngine;
  /** The store's directory. */
  readonly imagesDir: string;
  /** "amd64", "arm64" */
  readonly architecture: string;
  /** The file of loadRegistries; its usual place when undefined. */
  readonly registriesPath?: string;
  readonly buildCache: BuildCache;
  readonly storageDriver: StorageDriver;
  /** Directory of `RUN --mount=type=cache`. */
  readonly mountCacheDir: string;
  /** Directory in memory for the secrets of builds. */
  readonly secretsDir: string;
  /** Below this cgroup the containers of RUN are. */
  readonly cgroupParent: string;
  readonly now: () => Date;
}

/** What the image socket does: every change of the store is made by the runtime, its one owner. */
export function createImageCalls(options: ImageCallOptions): ImageHandlers {
  const { store, puller, architecture, imagesDir, now, buildCache } = options;
  const workDir = join(imagesDir, 'tmp');
  const inodes = loadInodes();
  const runStep = createStepRunner(options);
  const cacheLocks = new CacheLocks();
  return {
    async load({ body }) {
      const images = await loadArchive(store, body, { workDir, architecture });
      return images.map(summarize);
    },
    async pull({ body, layerProgress: onProgress, signal }) {
      const {
        name,
        plainHttp,
        auth,
        architecture: asked,
        hasAllPlatforms,
      } = await readJson<PullRequest>(body);
      const places = { usesPlainHttp: plainHttp, auth, architecture: asked, hasAllPlatforms };
      return summarize(await puller.pull(name, { ...places, onProgress, signal }));
    },
    async push({ body, progress, signal }) {
      const { name, plainHttp, auth } = await readJson<PullRequest>(body);
      return pushImage(name, {
        store,
        workDir,
        auth,
        usesPlainHttp: plainHttp,
        signal,
        onProgress: progress,
        ...(options.registriesPath ? { registriesPath: options.registriesPath } : {}),
      });
    },
    async save({ body }) {
      const { names } = await readJson<SaveRequest>(body);
      return saveImages(store, names);
    },
    async tag({ body }) {
      const { source, target } = await readJson<TagRequest>(body);
      return summarize(await store.tag(source, target));
    },
    async inspect({ name }) {
      const image = store.resolve(name);
      if (!image)
        throw new TkadmError('IMAGE_NOT_FOUND', `Cannot inspect image "${name}": no such image`, {
          hint: 'tkadm image ls',
        });
      const layers = image.layers.map(({ diffId, digest, sizeBytes }) => ({ diffId, digest, sizeBytes }));
      const platforms = image.index && { platforms: listIndex(store, image.index) };
      const { manifestDigest, config } = image;
      return { ...summarize(image), manifestDigest, ...platforms, layers, config };
    },
    async build({ body, progress, signal }) {
      const request = await readJson<BuildRequest>(body);
      checkArchitecture(request.architecture, architecture);
      const files = await readBuildFiles(request);
      const { contextDir, tags, buildArgs, target, usesCache, pull: pullsAlways = false } = request;
      const secrets = Object.fromEntries(
        Object.entries(request.secrets ?? {}).map(([id, text]) => [id, Buffer.from(text, 'base64')]),
      );
      const asked = { contextDir, tags, buildArgs, target, usesCache, pullsAlways, secrets };
      const tools = {
        store,
        puller,
        inodes,
        storageDriver: options.storageDriver,
        runStep,
        workDir,
        architecture,
        now,
        cacheLocks,
        cache: buildCache,
      };
      const directories = {
        mountCacheDir: options.mountCacheDir,
        secretsDir: options.secretsDir,
      };
      const image = await buildImage({
        ...asked,
        ...tools,
        ...directories,
        ...files,
        signal,
        onProgress: progress,
      });
      return summarize(image);
    },
    async prune({ body }) {
      const { all, buildCache: isCachePruned } = await readJson<PruneRequest>(body);
      const before = await store.fsUsage();
      const known = store.list();
      const images = known.filter((image) => isPrunable(image, known, all) && !store.isInUse(image));
      for (const { id } of images) await store.remove(id);
      const cachedSteps = isCachePruned ? await buildCache.clear() : 0;
      await store.sweep({ isThorough: true });
      const after = await store.fsUsage();
      return { images: images.map(summarize), cachedSteps, freedBytes: before.usedBytes - after.usedBytes };
    },
    list: async () => store.list().map(summarize),
    async remove({ name }) {
      const image = store.resolve(name);
      if (!image)
        throw new TkadmError('IMAGE_NOT_FOUND', `Cannot remove image "${name}": no such image`, {
          hint: 'tkadm image ls',
        });
      const others = image.repoTags.filter((tag) => !isNameOf(name, tag));
      if (others.length > 0 && others.length < image.repoTags.length) await store.untag(name);
      else await store.remove(name);
      return { id: image.id };
    },
  };
}

/** False for an id, which removes the image with all its names. */
function isNameOf(text: string, tag: string): boolean {
  try {
    return normalizeReference(text) === tag;
  } catch (error) {
    if (isTkadmError(error, 'IMAGE_REFERENCE_INVALID')) return false;
    throw error;
  }
}

/** Images without a name, also in an index; with `all` every image but the node's own. */
function isPrunable(image: ImageRecord, images: readonly ImageRecord[], all: boolean): boolean {
  return !image.isPinned && (all || (image.repoTags.length === 0 && !isIndexMember(images, image)));
}

function summarize({ id, repoTags, repoDigests, sizeBytes, isPinned }: ImageRecord): ImageSummary {
  return { id, repoTags, repoDigests, sizeBytes, isPinned };
}

/** A RUN of another platform would need an emulator. */
function checkArchitecture(asked: string | undefined, own: string): void {
  if (asked === undefined || asked === own) return;
  throw new TkadmError('UNSUPPORTED', `Cannot build for linux/${asked}: this machine is linux/${own}`);
}

/** The Dockerfile, and the exclusions that are for it alone. */
async function readBuildFiles({ contextDir, dockerfile: path, dockerfileText }: BuildRequest) {
  checkAbsolute(contextDir);
  const context = await stat(contextDir).catch(() => undefined);
  if (!context?.isDirectory())
    throw new TkadmError('IMAGE_REQUEST_INVALID', `Cannot build: there is no directory "${contextDir}"`);
  if (dockerfileText !== undefined) return { dockerfile: dockerfileText };
  checkAbsolute(path);
  return {
    dockerfile: await readDockerfile(path),
    ignoreFile: await readFileIfExists(`${path}.dockerignore`),
  };
}

async function readDockerfile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new TkadmError('IMAGE_REQUEST_INVALID', `Cannot build: no Dockerfile at "${path}"`, {
      hint: 'Name it with --file',
      cause: error,
    });
  }
}

function checkAbsolute(path: unknown): asserts path is string {
  if (typeof path === 'string' && isAbsolute(path)) return;
  throw new TkadmError('IMAGE_REQUEST_INVALID', `Cannot build: "${path}" is no absolute path`);
}

async function readJson<T>(body: Readable): Promise<T> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as T;
  } catch (error) {
    throw new TkadmError('IMAGE_REQUEST_INVALID', 'Cannot read the request: it is not JSON', {
      cause: error,
    });
  }
}
