import type { ImageRecord } from './store.ts';

/** Credentials for one pull; every field may be absent. */
export interface RegistryAuth {
  readonly username?: string;
  readonly password?: string;
  /** base64 of "username:password" */
  readonly auth?: string;
  readonly serverAddress?: string;
  readonly identityToken?: string;
  readonly registryToken?: string;
}

export interface PullOptions {
  readonly auth?: RegistryAuth | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Brings an image from a registry into the store. */
export interface ImagePuller {
  /** `reference` in any form of parseReference. Resolves when the image is in the store. */
  pull(reference: string, options?: PullOptions): Promise<ImageRecord>;
}
