import { TkadmError } from '../base/errors.ts';
import type { InitOf } from '../base/protobuf.ts';
import type { CriClient } from '../cri/client.ts';
import type { Image } from '../cri/messages/image.ts';
import type { PodSandboxConfig } from '../cri/messages/sandbox.ts';
import { Backoff } from './backoff.ts';
import type { ObjectSource } from './environment.ts';
import type { EventText } from './events.ts';
import { type Credential, matchCredentials, parseCredentials } from './image-credentials.ts';
import type { AgentPod, Container } from './pod.ts';
import { defaultPullPolicy } from './pod-defaults.ts';
import type { ImageUser } from './security.ts';

/** An image that is there: what containers are created from. */
export interface ReadyImage {
  readonly ref: string;
  readonly user: ImageUser;
}

/** A failure to get an image: the reason is the container's waiting reason. */
export class ImageError extends TkadmError {
  readonly reason: string;
  /** When the pull may be tried again, ms from now. */
  readonly retryAfterMs: number;

  constructor(reason: string, message: string, retryAfterMs: number, cause?: unknown) {
    super('AGENT_IMAGE', message, { cause });
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

export interface EnsureImageOptions {
  readonly pod: AgentPod;
  readonly container: Container;
  readonly objects: ObjectSource;
  readonly sandboxConfig: InitOf<typeof PodSandboxConfig>;
  readonly record: (text: EventText) => void;
  readonly signal: AbortSignal;
}

const FIRST_MS = 10_000;
const MAX_MS = 300_000;

/** Gets images by each container's pull policy, one pull at a time when asked so, with the kubelet's back-off. */
export class ImagePuller {
  readonly #cri: CriClient;
  readonly #isSerial: boolean;
  readonly #now: () => number;
  readonly #backoff: Backoff;
  readonly #failedAt = new Map<string, number>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(cri: CriClient, options: { readonly isSerial: boolean; readonly now: () => number }) {
    this.#cri = cri;
    this.#isSerial = options.isSerial;
    this.#now = options.now;
    this.#backoff = new Backoff(FIRST_MS, MAX_MS, options.now);
  }

  /** @throws ImageError with reason ErrImagePull, ImagePullBackOff, ErrImageNeverPull or InvalidImageName. */
  async ensure(options: EnsureImageOptions): Promise<ReadyImage> {
    const { container, record } = options;
    const image = container.image ?? '';
    const policy = container.imagePullPolicy ?? defaultPullPolicy(image);
    const present = await this.#find(image, options.signal);
    if (present && (policy !== 'Always' || isLocalOnly(image))) {
      record(normal('Pulled', describePresent(image, present)));
      return toReady(present, present.id);
    }
    if (policy === 'Never') {
      record(
        warning('ErrImageNeverPull', `Container image "${image}" is not present with pull policy of Never`),
      );
      throw new ImageError(
        'ErrImageNeverPull',
        `Container image "${image}" is not present with pull policy of Never`,
        FIRST_MS,
      );
    }
    return this.#pullWithBackoff(image, options);
  }

  async #find(image: string, signal: AbortSignal): Promise<Image | undefined> {
    return (await this.#cri.imageStatus({ image: { image } }, { signal })).image;
  }

  async #pullWithBackoff(image: string, options: EnsureImageOptions): Promise<ReadyImage> {
    const { pod, record } = options;
    const key = `${pod.metadata.uid}_${image}`;
    const failedAt = this.#failedAt.get(key) ?? 0;
    const remaining = this.#backoff.remainingMs(key, failedAt);
    if (remaining > 0) {
      const message = `Back-off pulling image "${image}"`;
      record({ type: 'Normal', reason: 'BackOff', message });
      throw new ImageError('ImagePullBackOff', message, remaining);
    }
    try {
      const ready = await this.#inTurn(() => this.#pull(image, options));
      this.#backoff.forget(key);
      this.#failedAt.delete(key);
      return ready;
    } catch (error) {
      options.signal.throwIfAborted();
      const now = this.#now();
      this.#backoff.next(key, now);
      this.#failedAt.set(key, now);
      const cause = (error as TkadmError).details?.['message'] ?? (error as Error).message;
      const message = `Failed to pull image "${image}": ${String(cause)}`;
      record(warning('Failed', message));
      record(warning('Failed', 'Error: ErrImagePull'));
      throw new ImageError('ErrImagePull', String(cause), this.#backoff.delayMs(key), error);
    }
  }

  async #pull(image: string, options: EnsureImageOptions): Promise<ReadyImage> {
    const { record, signal, sandboxConfig } = options;
    record(normal('Pulling', `Pulling image "${image}"`));
    const startedAt = this.#now();
    const logins = matchCredentials(image, await readPullSecrets(options));
    let lastError: unknown;
    for (const login of [...logins, undefined].slice(0, Math.max(1, logins.length))) {
      try {
        const auth = login && { ...login, serverAddress: login.registry };
        const { imageRef } = await this.#cri.pullImage(
          { image: { image }, sandboxConfig, ...(auth ? { auth } : {}) },
          { signal },
        );
        const pulled = (await this.#find(imageRef, signal)) ?? (await this.#find(image, signal));
        const took = ((this.#now() - startedAt) / 1000).toFixed(3);
        record(
          normal(
            'Pulled',
            `Successfully pulled image "${image}" in ${took}s (${took}s including waiting). Image size: ${pulled?.size ?? 0} bytes.`,
          ),
        );
        return pulled ? toReady(pulled, imageRef) : { ref: imageRef, user: { uid: undefined, username: '' } };
      } catch (error) {
        lastError = error;
      }
    }
    throw lastError;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#isSerial) return work();
    const result = this.#turn.then(work, work);
    this.#turn = result.catch(() => {});
    return result;
  }
}

async function readPullSecrets({ pod, objects }: EnsureImageOptions): Promise<Credential[]> {
  const names = (pod.spec.imagePullSecrets ?? []).map(({ name }) => name ?? '').filter((name) => name !== '');
  const secrets = await Promise.all(
    names.map((name) => objects.secret(pod.metadata.namespace, name).catch(() => undefined)),
  );
  return secrets.flatMap((secret) => (secret ? parseCredentials(secret) : []));
}

/** A node that is of another version than the cluster's add-ons has their programs in its own version. */
function describePresent(image: string, { repoTags }: Image): string {
  const program = image.slice(0, image.lastIndexOf(':') + 1);
  const own = repoTags.find((tag) => tag.startsWith(program));
  return !isLocalOnly(image) || own === undefined || repoTags.includes(image)
    ? `Container image "${image}" already present on machine`
    : `Container image "${image}" is not in this node's bundle, whose "${own}" is used`;
}

/** Images of the node's own bundle are in no registry. */
function isLocalOnly(image: string): boolean {
  return image.startsWith('tkadm.local/');
}

function toReady(image: Image, ref: string): ReadyImage {
  return { ref, user: { uid: image.uid?.value, username: image.username } };
}

const normal = (reason: string, message: string): EventText => ({ type: 'Normal', reason, message });
const warning = (reason: string, message: string): EventText => ({ type: 'Warning', reason, message });
