import type { Readable } from 'node:stream';
import { PATHS } from '../base/paths.ts';
import type { IndexRow } from '../image/image-index.ts';
import type { OciImageConfig } from '../image/oci-image.ts';
import type { PullProgress } from '../image/pull.ts';
import type { RegistryAuth } from '../image/puller.ts';
import type { PushResult } from '../image/push.ts';

/** The calls of the image socket: plain HTTP, answers in JSON lines of which the last has result or error. */
export const IMAGE_CALLS = {
  /** Body: a docker-archive or OCI archive, plain or gzip. */
  load: { method: 'POST', path: '/load' },
  pull: { method: 'POST', path: '/pull' },
  build: { method: 'POST', path: '/build' },
  list: { method: 'GET', path: '/images' },
  /** Behind the path the name, percent-encoded: one of several names goes alone, the last takes the image along. */
  remove: { method: 'DELETE', path: '/images/' },
  /** Behind the path the image's name. */
  inspect: { method: 'GET', path: '/images/' },
  tag: { method: 'POST', path: '/tag' },
  push: { method: 'POST', path: '/push' },
  /** Body: PruneRequest. */
  prune: { method: 'POST', path: '/prune' },
  /** Body: SaveRequest. The answer is the archive itself, when it can be made. */
  save: { method: 'POST', path: '/save' },
} as const satisfies Record<string, { readonly method: string; readonly path: string }>;

export type ImageCall = keyof typeof IMAGE_CALLS;

/** The image socket of a node. */
export const IMAGE_SOCKET = PATHS.imageSocket;

/** Media type of an answer that is an archive instead of JSON lines. */
export const ARCHIVE_TYPE = 'application/x-tar';

/** Body of /pull and /push. */
export interface PullRequest {
  readonly name: string;
  readonly plainHttp: boolean;
  /** Of a pull: "amd64", "arm64"; the machine's when undefined. */
  readonly architecture?: string | undefined;
  /** Of a pull: every image of an index. */
  readonly hasAllPlatforms?: boolean;
  /** For the name's registry. */
  readonly auth?: RegistryAuth | undefined;
}

/** Body of /tag. */
export interface TagRequest {
  readonly source: string;
  readonly target: string;
}

/** Body of /prune. */
export interface PruneRequest {
  /** Images with names too, when no container has them. */
  readonly all: boolean;
  /** The steps of builds, and the caches of their mounts. */
  readonly buildCache: boolean;
}

/** What /prune has removed. */
export interface PruneResult {
  readonly images: readonly ImageSummary[];
  /** Steps of builds. */
  readonly cachedSteps: number;
  /** Of layers' files. */
  readonly freedBytes: number;
}

/** How far a layer of a pull is. */
export type LayerProgress = PullProgress;

/** Body of /save. */
export interface SaveRequest {
  readonly names: readonly string[];
}

/** Body of /build; paths are absolute, on the machine of the runtime. */
export interface BuildRequest {
  readonly contextDir: string;
  /** Path of the Dockerfile; its own exclusions are in the file of that name with ".dockerignore" behind. */
  readonly dockerfile?: string | undefined;
  /** The Dockerfile itself, instead of its path. */
  readonly dockerfileText?: string | undefined;
  readonly tags: readonly string[];
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly target?: string | undefined;
  readonly usesCache: boolean;
  /** Ask the registry for base images that are in the store too. */
  readonly pull?: boolean | undefined;
  /** Must be the machine's: "amd64", "arm64". */
  readonly architecture?: string | undefined;
  /** Secrets by id, base64. */
  readonly secrets?: Readonly<Record<string, string>> | undefined;
}

/** An image as the socket tells about it. */
export interface ImageSummary {
  /** "sha256:HEX" */
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  readonly sizeBytes: number;
  readonly isPinned: boolean;
}

/** All that the store knows of an image. */
export interface ImageDetails extends ImageSummary {
  readonly manifestDigest?: string | undefined;
  /** Bottom first. */
  readonly layers: readonly {
    readonly diffId: string;
    readonly digest: string;
    readonly sizeBytes: number;
  }[];
  readonly config: OciImageConfig;
  /** The images of an index that was pulled with all platforms. */
  readonly platforms?: readonly IndexRow[];
}

/** The result of each call. */
export interface ImageResults {
  readonly load: readonly ImageSummary[];
  readonly pull: ImageSummary;
  readonly build: ImageSummary;
  readonly list: readonly ImageSummary[];
  readonly remove: { readonly id: string };
  readonly inspect: ImageDetails;
  readonly tag: ImageSummary;
  readonly push: PushResult;
  readonly prune: PruneResult;
  readonly save: Readable;
}

/** One line of an answer. */
export type ImageAnswerLine<T> =
  | { readonly progress: string }
  | { readonly layer: LayerProgress }
  | { readonly result: T }
  | { readonly error: { readonly code: string; readonly message: string; readonly hint?: string } };
