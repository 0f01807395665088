import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { TkadmError } from '../base/errors.ts';
import { drop, HttpClient, type HttpResponse, type HttpTrust, readBody } from './http-client.ts';
import { MEDIA_TYPES } from './oci-image.ts';
import { MAX_MANIFEST_BYTES } from './parse-image.ts';
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
  readonly trust?: HttpTrust | undefined;
  /** Tokens are asked for with the right to push. */
  readonly isPush?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface FetchedManifest {
  readonly mediaType: string;
  readonly digest: string | undefined;
  readonly bytes: Buffer;
}

/** A blob on its way, from `startByte` on. */
export interface FetchedBlob {
  readonly body: Readable;
  readonly startByte: number;
}

const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;
/** A server that asks for more patience is not waited for. */
const MAX_PAUSE_MS = 10_000;
/** Failures of a connection that may be gone the next time. */
const PASSING_ERRORS: readonly string[] = ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EAI_AGAIN'];
const MAX_ANSWER_BYTES = 1 << 20;
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
  readonly #http: HttpClient;
  #authorization: string | undefined;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#http = new HttpClient(options.trust);
  }

  /** Ends the connections. */
  close(): void {
    this.#http.close();
  }

  /** GET /v2/NAME/manifests/REFERENCE. @throws REGISTRY, also for one of more than 4 MiB */
  async fetchManifest(reference: string): Promise<FetchedManifest> {
    const { index, manifest, dockerIndex, dockerManifest } = MEDIA_TYPES;
    const path = `manifests/${reference}`;
    const response = await this.#request('GET', path, {
      headers: { accept: [index, manifest, dockerIndex, dockerManifest].join(', ') },
    });
    return {
      mediaType: response.header('content-type')?.split(';')[0] ?? '',
      digest: response.header('docker-content-digest'),
      bytes: await this.#readBody(path, response, MAX_MANIFEST_BYTES),
    };
  }

  /** GET /v2/NAME/blobs/DIGEST, from a byte on if the registry can; the caller checks the digest. @throws REGISTRY */
  async fetchBlob(digest: string, fromByte = 0): Promise<FetchedBlob> {
    const response = await this.#request('GET', `blobs/${digest}`, {
      headers: fromByte > 0 ? { range: `bytes=${fromByte}-` } : {},
    });
    return { body: response.body, startByte: response.status === 206 ? fromByte : 0 };
  }

  /** What a blob's download ends with when its connection breaks off. */
  broken(digest: string, state: string): TkadmError {
    return new TkadmError(
      'REGISTRY_UNREACHABLE',
      `Cannot read blob "${digest}" of registry "${this.#options.host}": ${state}`,
    );
  }

  /** HEAD /v2/NAME/blobs/DIGEST */
  async hasBlob(digest: string): Promise<boolean> {
    const response = await this.#request('HEAD', `blobs/${digest}`, { allow: [404] });
    drop(response);
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
    drop(await this.#request('PUT', url, {}));
  }

  /** PUT /v2/NAME/manifests/REFERENCE. @throws REGISTRY */
  async pushManifest(reference: string, mediaType: string, bytes: Uint8Array): Promise<void> {
    const headers = { 'content-type': mediaType };
    drop(await this.#request('PUT', `manifests/${reference}`, { headers, body: bytes }));
  }

  async #request(method: string, path: string | URL, options: RegistryRequest): Promise<HttpResponse> {
    let hasAuthenticated = false;
    for (let attempt = 1; ; attempt += 1) {
      const canRepeat = attempt < ATTEMPTS;
      const response = await this.#send(method, path, options, canRepeat);
      if (response && isFine(response, options)) return response;
      if (response?.status === 401 && canRepeat && !hasAuthenticated) {
        hasAuthenticated = true;
        drop(response);
        this.#authorization = await this.#authenticate(response.header('www-authenticate') ?? '');
        if (this.#authorization) continue;
      }
      const isPassing = !response || response.status >= 500 || response.status === 429;
      const pauseMs = pauseOf(response, attempt);
      if (response && (!isPassing || !canRepeat || pauseMs > MAX_PAUSE_MS)) {
        throw await this.#refusal(String(path), response);
      }
      if (response) drop(response);
      await sleep(pauseMs, undefined, { signal: this.#options.signal });
    }
  }

  /** undefined for a failure that may pass, when the request can be repeated. */
  async #send(
    method: string,
    path: string | URL,
    { headers, body }: RegistryRequest,
    canRepeat: boolean,
  ): Promise<HttpResponse | undefined> {
    const authorization = this.#authorization;
    try {
      return await this.#http.send(path instanceof URL ? path : this.#url(path), {
        method,
        headers: { ...headers, ...(authorization ? { authorization } : {}) },
        body,
        signal: this.#options.signal,
      });
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (canRepeat && PASSING_ERRORS.includes(code) && !this.#options.signal?.aborted) return undefined;
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
    if (challenge.scheme !== 'bearer' || !URL.canParse(challenge.parameters.get('realm') ?? ''))
      return undefined;
    const { url, ...request } = buildTokenRequest(
      challenge,
      credentials,
      `repository:${repository}:${this.#options.isPush ? 'pull,push' : 'pull'}`,
    );
    const response = await this.#http.send(url, { ...request, signal }).catch((error: unknown) => {
      throw this.#unreachable(error);
    });
    if (response.status >= 300) throw await this.#refusal(url.host, response);
    return `Bearer ${readToken(await this.#readBody(url.host, response, MAX_ANSWER_BYTES))}`;
  }

  async #readBody(path: string, response: HttpResponse, maxBytes: number): Promise<Buffer> {
    try {
      return await readBody(response, maxBytes);
    } catch (error) {
      throw this.#failure(path, (error as Error).message);
    }
  }

  #location(response: HttpResponse): URL {
    drop(response);
    const location = response.header('location');
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

  async #refusal(path: string, response: HttpResponse): Promise<TkadmError> {
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
    if (error instanceof TkadmError) return error;
    const { code = '', message: state, hostname } = error as NodeJS.ErrnoException & { hostname?: string };
    const isUnknown = code === 'ENOTFOUND' || code === 'EAI_AGAIN';
    return new TkadmError(
      'REGISTRY_UNREACHABLE',
      `Cannot reach registry "${this.#options.host}": ${isUnknown ? `no name server knows "${hostname}" (${code})` : state || code}`,
      {
        cause: error,
        ...(isUnknown
          ? { hint: 'Compare the name; a mirror can be named in /etc/tkadm/registries.json' }
          : {}),
      },
    );
  }

  #name(): string {
    return `${this.#options.host}/${this.#options.repository}`;
  }
}

function isFine({ status }: HttpResponse, { allow }: RegistryRequest): boolean {
  return (status >= 200 && status < 300) || allow?.includes(status) === true;
}

/** Twice as long each time, or what the server asks for (RFC 9110 §10.2.3, the form in seconds). */
function pauseOf(response: HttpResponse | undefined, attempt: number): number {
  const asked = Number(response?.header('retry-after'));
  return asked > 0 ? asked * 1000 : FIRST_PAUSE_MS * 2 ** (attempt - 1);
}

function readToken(bytes: Buffer): string {
  const body = JSON.parse(bytes.toString('utf8')) as {
    readonly token?: string;
    readonly access_token?: string;
  };
  return body.token ?? body.access_token ?? '';
}

async function describeFailure(response: HttpResponse): Promise<string> {
  const text = await readBody(response, MAX_ANSWER_BYTES).then(String, () => '');
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
