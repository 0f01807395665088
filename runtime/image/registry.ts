import { TkadmError } from '../base/errors.ts';
import { MEDIA_TYPES } from './oci-image.ts';

export interface RegistryCredentials {
  readonly username: string;
  readonly password: string;
}

export interface RegistryOptions {
  /** "registry.example:5000" */
  readonly host: string;
  /** "library/busybox" */
  readonly repository: string;
  readonly isPlainHttp: boolean;
  readonly credentials?: RegistryCredentials | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface FetchedManifest {
  readonly mediaType: string;
  readonly digest: string | undefined;
  readonly bytes: Buffer;
}

const ATTEMPTS = 3;

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

  /** POST an upload, then PUT the blob in one piece (distribution-spec, "Pushing blobs"). @throws REGISTRY */
  async pushBlob(
    digest: string,
    content: Uint8Array | ReadableStream<Uint8Array>,
    sizeBytes: number,
  ): Promise<void> {
    const start = await this.#request('POST', 'blobs/uploads/', {});
    const location = start.headers.get('location');
    if (!location) throw this.#failure('blobs/uploads/', 'the answer has no Location');
    const url = new URL(location, this.#url(''));
    url.searchParams.set('digest', digest);
    await this.#request('PUT', url, {
      headers: { 'content-type': 'application/octet-stream', 'content-length': String(sizeBytes) },
      body: content,
    });
  }

  /** PUT /v2/NAME/manifests/REFERENCE. @throws REGISTRY */
  async pushManifest(reference: string, mediaType: string, bytes: Uint8Array): Promise<void> {
    await this.#request('PUT', `manifests/${reference}`, {
      headers: { 'content-type': mediaType },
      body: bytes,
    });
  }

  async #request(
    method: string,
    path: string | URL,
    options: {
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: Uint8Array | ReadableStream<Uint8Array>;
      readonly allow?: readonly number[];
    },
  ): Promise<Response> {
    const isStream = options.body instanceof ReadableStream;
    for (let attempt = 1; ; attempt += 1) {
      const response = await this.#send(method, path, options).catch((error: Error) => {
        const state = error.cause instanceof Error ? error.cause.message : error.message;
        if (attempt >= ATTEMPTS || isStream) throw this.#failure(String(path), state, error);
        return undefined;
      });
      if (!response) continue;
      if (response.ok || options.allow?.includes(response.status)) return response;
      if (response.status === 401 && attempt === 1 && !isStream) {
        this.#authorization = await this.#authenticate(response.headers.get('www-authenticate') ?? '');
        if (this.#authorization) continue;
      }
      const isPassing = response.status >= 500 || response.status === 429;
      if (isPassing && attempt < ATTEMPTS && !isStream) continue;
      throw this.#failure(String(path), await describeFailure(response));
    }
  }

  #send(
    method: string,
    path: string | URL,
    options: { headers?: Readonly<Record<string, string>>; body?: Uint8Array | ReadableStream<Uint8Array> },
  ): Promise<Response> {
    return fetch(path instanceof URL ? path : this.#url(path), {
      method,
      headers: { ...options.headers, ...(this.#authorization ? { authorization: this.#authorization } : {}) },
      ...(options.body ? { body: options.body as never, duplex: 'half' } : {}),
      ...(this.#options.signal ? { signal: this.#options.signal } : {}),
    } as RequestInit);
  }

  /** Answers a 401's challenge: Basic, or a token from the realm (Docker token authentication). */
  async #authenticate(challenge: string): Promise<string | undefined> {
    const { credentials, repository } = this.#options;
    const basic = credentials
      ? `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`
      : undefined;
    if (/^basic/i.test(challenge)) return basic;
    if (!/^bearer/i.test(challenge)) return undefined;
    const parameters = new Map(
      [...challenge.matchAll(/(\w+)="([^"]*)"/g)].map((match) => [match[1]!, match[2]!]),
    );
    const url = new URL(parameters.get('realm') ?? '');
    const service = parameters.get('service');
    if (service) url.searchParams.set('service', service);
    url.searchParams.set('scope', parameters.get('scope') ?? `repository:${repository}:pull`);
    const response = await fetch(url, basic ? { headers: { authorization: basic } } : {});
    if (!response.ok) throw this.#failure(url.host, await describeFailure(response));
    const { token, access_token: accessToken } = (await response.json()) as {
      token?: string;
      access_token?: string;
    };
    return `Bearer ${token ?? accessToken}`;
  }

  #url(path: string): URL {
    const { host, repository, isPlainHttp } = this.#options;
    const address = host === 'docker.io' ? 'registry-1.docker.io' : host;
    return new URL(`${isPlainHttp ? 'http' : 'https'}://${address}/v2/${repository}/${path}`);
  }

  #failure(path: string, state: string, cause?: unknown): TkadmError {
    const { host, repository } = this.#options;
    return new TkadmError(
      'REGISTRY',
      `Cannot use "${path}" of repository "${host}/${repository}": ${state}`,
      { cause },
    );
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
