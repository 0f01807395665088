import { setTimeout as sleep } from 'node:timers/promises';
import { TkadmError } from '../base/errors.ts';
import { MEDIA_TYPES } from './oci-image.ts';
import {
  basicAuthorization,
  buildTokenRequest,
  parseChallenge,
  type RegistryCredentials,
} from './registry-auth.ts';

export interface RegistryOptions {
  /** "registry.example:5000" */
  readonly host: string;
  /** "library/busybox" */
  readonly repository: string;
  readonly isPlainHttp: boolean;
  readonly credentials?: RegistryCredentials | undefined;
  /** Tokens are asked for with the right to push. */
  readonly isPush?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface FetchedManifest {
  readonly mediaType: string;
  readonly digest: string | undefined;
  readonly bytes: Buffer;
}

const ATTEMPTS = 3;
const PAUSE_MS = 500;
/** Registries may ask for less than all of a blob at once; they take this much. */
const PIECE_BYTES = 8 << 20;

interface RegistryRequest {
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** Statuses that are no failure. */
  readonly allow?: readonly number[];
}

/** A client of one repository of a registry (OCI distribution-spec 1.1), with token and basic authentication. */
export class RegistryClient {
  readonly #options: RegistryOptions;
  #authorization: string | undefined;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  /** GET /v2/NAME/manifests/REFERENCE. @throws REGISTRY */
  async fetchManifest(reference: string): Promise<FetchedManifest> {
    const { index, manifest, dockerIndex, dockerManifest } = MEDIA_TYPES;
    const response = await this.#request('GET', `manifests/${reference}`, {
      headers: { accept: [index, manifest, dockerIndex, dockerManifest].join(', ') },
    });
    return {
      mediaType: response.headers.get('content-type')?.split(';')[0] ?? '',
      digest: response.headers.get('docker-content-digest') ?? undefined,
      bytes: Buffer.from(await response.arrayBuffer()),
    };
  }

  /** GET /v2/NAME/blobs/DIGEST from a byte on; the caller checks the digest. @throws REGISTRY */
  async fetchBlob(digest: string, fromByte = 0): Promise<ReadableStream<Uint8Array>> {
    const response = await this.#request('GET', `blobs/${digest}`, {
      headers: fromByte > 0 ? { range: `bytes=${fromByte}-` } : {},
    });
    if (!response.body) throw this.#failure(`blobs/${digest}`, 'the answer has no body');
    return response.body as ReadableStream<Uint8Array>;
  }

  /** HEAD /v2/NAME/blobs/DIGEST */
  async hasBlob(digest: string): Promise<boolean> {
    const response = await this.#request('HEAD', `blobs/${digest}`, { allow: [404] });
    return response.status === 200;
  }

  /**
   * POST an upload, PATCH piece after piece, PUT the digest (distribution-spec, "Pushing blobs"). A piece that fails
   * is sent again.
   * @throws REGISTRY
   */
  async pushBlob(digest: string, content: Uint8Array | AsyncIterable<Uint8Array>): Promise<void> {
    let url = this.#location(await this.#request('POST', 'blobs/uploads/', {}));
    let sentBytes = 0;
    for await (const piece of intoPieces(content, PIECE_BYTES)) {
      const response = await this.#request('PATCH', url, {
        headers: {
          'content-type': 'application/octet-stream',
          'content-range': `${sentBytes}-${sentBytes + piece.byteLength - 1}`,
        },
        body: piece,
      });
      url = this.#location(response);
      sentBytes += piece.byteLength;
    }
    url.searchParams.set('digest', digest);
    await this.#request('PUT', url, {});
  }

  /** PUT /v2/NAME/manifests/REFERENCE. @throws REGISTRY */
  async pushManifest(reference: string, mediaType: string, bytes: Uint8Array): Promise<void> {
    await this.#request('PUT', `manifests/${reference}`, {
      headers: { 'content-type': mediaType },
      body: bytes,
    });
  }

  async #request(method: string, path: string | URL, options: RegistryRequest): Promise<Response> {
    let hasAuthenticated = false;
    for (let attempt = 1; ; attempt += 1) {
      const response = await this.#send(method, path, options);
      if (response.ok || options.allow?.includes(response.status)) return response;
      const canRepeat = attempt < ATTEMPTS;
      if (response.status === 401 && canRepeat && !hasAuthenticated) {
        hasAuthenticated = true;
        this.#authorization = await this.#authenticate(response.headers.get('www-authenticate') ?? '');
        if (this.#authorization) continue;
      }
      const isPassing = response.status >= 500 || response.status === 429;
      if (!isPassing || !canRepeat) throw await this.#refusal(String(path), response);
      await sleep(PAUSE_MS * attempt, undefined, { signal: this.#options.signal });
    }
  }

  async #send(method: string, path: string | URL, options: RegistryRequest): Promise<Response> {
    const { signal } = this.#options;
    const authorization = this.#authorization;
    try {
      return await fetch(path instanceof URL ? path : this.#url(path), {
        method,
        headers: { ...options.headers, ...(authorization ? { authorization } : {}) },
        ...(options.body ? { body: options.body as never } : {}),
        ...(signal ? { signal } : {}),
      } as RequestInit);
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  /** Answers a 401's challenge: Basic, or a token from the realm. */
  async #authenticate(header: string): Promise<string | undefined> {
    const { credentials, repository, signal } = this.#options;
    const challenge = parseChallenge(header);
    if (credentials?.kind === 'registry-token') return `Bearer ${credentials.token}`;
    if (challenge.scheme === 'basic') {
      return credentials?.kind === 'password'
        ? basicAuthorization(credentials.username, credentials.password)
        : undefined;
    }
    if (challenge.scheme !== 'bearer') return undefined;
    const { url, init } = buildTokenRequest(
      challenge,
      credentials,
      `repository:${repository}:${this.#options.isPush ? 'pull,push' : 'pull'}`,
    );
    const response = await fetch(url, { ...init, signal: signal ?? null }).catch((error: unknown) => {
      throw this.#unreachable(error);
    });
    if (!response.ok) throw await this.#refusal(url.host, response);
    const body = (await response.json()) as { readonly token?: string; readonly access_token?: string };
    return `Bearer ${body.token ?? body.access_token}`;
  }

  #location(response: Response): URL {
    const location = response.headers.get('location');
    if (!location) throw this.#failure('blobs/uploads/', 'the answer has no Location');
    return new URL(location, this.#url(''));
  }

  #url(path: string): URL {
    const { host, repository, isPlainHttp } = this.#options;
    const address = host === 'docker.io' ? 'registry-1.docker.io' : host;
    return new URL(`${isPlainHttp ? 'http' : 'https'}://${address}/v2/${repository}/${path}`);
  }

  #failure(path: string, state: string): TkadmError {
    return new TkadmError('REGISTRY', `Cannot use "${path}" of repository "${this.#name()}": ${state}`);
  }

  async #refusal(path: string, response: Response): Promise<TkadmError> {
    const state = await describeFailure(response);
    if (response.status === 401 || response.status === 403) {
      return new TkadmError('REGISTRY_DENIED', `Cannot use repository "${this.#name()}": ${state}`, {
        hint: 'Check the name; a private repository needs credentials: imagePullSecrets, --authfile',
      });
    }
    return response.status === 404
      ? new TkadmError('IMAGE_NOT_FOUND', `Cannot find "${path}" in repository "${this.#name()}": ${state}`)
      : this.#failure(path, state);
  }

  #unreachable(error: unknown): unknown {
    if (this.#options.signal?.aborted) return error;
    const { cause, message } = error as Error;
    const { code = '', message: state = message } = (cause ?? {}) as NodeJS.ErrnoException;
    return new TkadmError(
      'REGISTRY_UNREACHABLE',
      `Cannot reach registry "${this.#options.host}": ${state || code}`,
      { cause: error },
    );
  }

  #name(): string {
    return `${this.#options.host}/${this.#options.repository}`;
  }
}

async function describeFailure(response: Response): Promise<string> {
  const text = await response.text().catch(() => '');
  try {
    const { errors } = JSON.parse(text) as { errors?: readonly { code?: string; message?: string }[] };
    const [first] = errors ?? [];
    if (first) return `HTTP ${response.status}, ${first.code}: ${first.message}`;
  } catch {
    // No JSON: the status says enough.
  }
  return `HTTP ${response.status}`;
}

/** The same bytes in pieces of one size, the last shorter; none when there are no bytes. */
async function* intoPieces(
  content: Uint8Array | AsyncIterable<Uint8Array>,
  pieceBytes: number,
): AsyncGenerator<Uint8Array> {
  const source = content instanceof Uint8Array ? [content] : content;
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  for await (const chunk of source) {
    for (let rest = chunk; rest.byteLength > 0; ) {
      const part = rest.subarray(0, pieceBytes - heldBytes);
      held.push(part);
      heldBytes += part.byteLength;
      rest = rest.subarray(part.byteLength);
      if (heldBytes < pieceBytes) continue;
      yield Buffer.concat(held);
      held = [];
      heldBytes = 0;
    }
  }
  if (heldBytes > 0) yield Buffer.concat(held);
}
