import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { readLines } from '../base/lines.ts';
import { ApiError, isApiError, parseStatus } from './api-error.ts';
import { Connections } from './connections.ts';
import type { Kind, KubeObject } from './kinds.ts';
import type { ClientConfig } from './kubeconfig.ts';
import {
  type DeleteOptions,
  encodeBody,
  formatPath,
  type ListOptions,
  type ObjectList,
  type ObjectRef,
  objectPath,
  PATCH_CONTENT_TYPES,
  type PatchType,
  type RequestOptions,
  type WatchEvent,
  type WatchOptions,
  withTypeMeta,
} from './requests.ts';
import { formatCollectionPath } from './resources.ts';

const DEFAULT_TIMEOUT_MS = 30_000;
/** Requests with the credentials before have ended by then, and watches begin again with the new ones. */
const RETIRE_MS = DEFAULT_TIMEOUT_MS + 5_000;

/** A client of one Kubernetes API server (real or ours) over HTTPS with kept-alive connections. */
export class ApiClient {
  readonly #userAgent: string;
  readonly #connections: Connections;
  readonly #listeners: ((config: ClientConfig) => void)[] = [];
  #token: { readonly value: string; readonly readAtMs: number } | undefined;

  constructor(config: ClientConfig, userAgent = 'tkadm') {
    this.#connections = new Connections(config);
    this.#userAgent = userAgent;
  }

  get config(): ClientConfig {
    return this.#connections.config;
  }

  /**
   * Takes other credentials for connections from now on. Requests under way are not disturbed; watches go on
   * until `retireMs` are over and then end, so that their followers resume them with the new credentials.
   */
  reconfigure(config: ClientConfig, retireMs = RETIRE_MS): void {
    this.#connections.replace(config, retireMs);
    this.#token = undefined;
    for (const listener of this.#listeners) listener(config);
  }

  /** Calls back at each `reconfigure`. */
  onReconfigure(listener: (config: ClientConfig) => void): void {
    this.#listeners.push(listener);
  }

  /** Closes idle connections; requests under way end with an error. */
  close(): void {
    this.#connections.close();
  }

  get<T extends KubeObject>(kind: Kind<T>, ref: ObjectRef, options?: RequestOptions): Promise<T> {
    return this.requestJson<T>('GET', objectPath(kind, ref), options);
  }

  /** The object, or undefined when the server answers NotFound. */
  async find<T extends KubeObject>(
    kind: Kind<T>,
    ref: ObjectRef,
    options?: RequestOptions,
  ): Promise<T | undefined> {
    try {
      return await this.get(kind, ref, options);
    } catch (error) {
      if (isApiError(error, 'NotFound')) return undefined;
      throw error;
    }
  }

  list<T extends KubeObject>(kind: Kind<T>, options: ListOptions = {}): Promise<ObjectList<T>> {
    const { namespace, signal, ...query } = options;
    return this.requestJson('GET', formatCollectionPath(kind, namespace), { query, signal });
  }

  create<T extends KubeObject>(kind: Kind<T>, object: T, options?: RequestOptions): Promise<T> {
    const path = formatCollectionPath(kind, object.metadata?.namespace);
    return this.requestJson('POST', path, { ...options, body: withTypeMeta(kind, object) });
  }

  /** PUT of the object, or of the part that `subresource` names. */
  update<T extends KubeObject>(
    kind: Kind<T>,
    object: T,
    options: string | (RequestOptions & { readonly subresource?: string }) = {},
  ): Promise<T> {
    const { subresource, ...rest } = typeof options === 'string' ? { subresource: options } : options;
    const ref = { name: object.metadata?.name ?? '', namespace: object.metadata?.namespace, subresource };
    return this.requestJson('PUT', objectPath(kind, ref), { ...rest, body: withTypeMeta(kind, object) });
  }

  patch<T extends KubeObject>(
    kind: Kind<T>,
    ref: ObjectRef,
    patch: { readonly type: PatchType; readonly body: unknown; readonly query?: RequestOptions['query'] },
  ): Promise<T> {
    return this.requestJson('PATCH', objectPath(kind, ref), {
      body: patch.body,
      query: patch.query,
      contentType: PATCH_CONTENT_TYPES[patch.type],
    });
  }

  async delete<T extends KubeObject>(
    kind: Kind<T>,
    ref: ObjectRef,
    options: DeleteOptions = {},
  ): Promise<void> {
    await this.requestJson('DELETE', objectPath(kind, ref), {
      body: { apiVersion: 'v1', kind: 'DeleteOptions', ...options },
    });
  }

  /**
   * One watch request: yields its events until the server or the signal ends it. An ERROR event is
   * yielded, not thrown; a refused request throws ApiError. Use `Informer` for a list that stays right.
   */
  async *watch<T extends KubeObject>(
    kind: Kind<T>,
    options: WatchOptions = {},
  ): AsyncGenerator<WatchEvent<T>> {
    const { namespace, signal, allowBookmarks, sendInitialEvents, ...rest } = options;
    const query = {
      ...rest,
      watch: true,
      allowWatchBookmarks: allowBookmarks,
      sendInitialEvents,
      resourceVersionMatch: sendInitialEvents ? 'NotOlderThan' : undefined,
    };
    const response = await this.requestStream('GET', formatCollectionPath(kind, namespace), {
      query,
      signal,
    });
    try {
      for await (const line of readLines(response)) yield JSON.parse(line) as WatchEvent<T>;
    } catch (error) {
      if (!signal?.aborted && !isConnectionEnd(error)) throw error;
    } finally {
      response.destroy();
    }
  }

  /** Performs a request and parses the JSON answer. @throws ApiError, API_UNREACHABLE */
  async requestJson<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const text = await this.requestText(method, path, options);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** Performs a request and returns the body's text. @throws ApiError, API_UNREACHABLE */
  async requestText(method: string, path: string, options: RequestOptions = {}): Promise<string> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const response = await this.requestStream(method, path, { ...options, timeoutMs });
    return readText(response);
  }

  /** Performs a request and returns the response once its headers say success. @throws ApiError, API_UNREACHABLE */
  async requestStream(method: string, path: string, options: RequestOptions = {}): Promise<IncomingMessage> {
    const headers = await this.#headers(options);
    const body = encodeBody(options.body);
    if (body !== undefined) headers['content-length'] = String(Buffer.byteLength(body));
    const response = await this.#connections.send({
      method,
      path: formatPath(path, options.query),
      headers,
      body,
      timeoutMs: options.timeoutMs,
      signal: options.signal,
    });
    const code = response.statusCode ?? 0;
    if (code < 400) return response;
    throw new ApiError(code, parseStatus(await readText(response), code), `${method} ${path}`);
  }

  async #headers(options: RequestOptions): Promise<Record<string, string>> {
    const headers: Record<string, string> = {
      accept: 'application/json',
      'user-agent': this.#userAgent,
      ...options.headers,
    };
    const token = await this.#bearerToken();
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
    if (options.body !== undefined) headers['content-type'] = options.contentType ?? 'application/json';
    return headers;
  }

  async #bearerToken(): Promise<string | undefined> {
    if (this.config.token !== undefined) return this.config.token;
    if (this.config.tokenFile === undefined) return undefined;
    const now = performance.now();
    if (!this.#token || now - this.#token.readAtMs > 60_000) {
      this.#token = { value: (await readFile(this.config.tokenFile, 'utf8')).trim(), readAtMs: now };
    }
    return this.#token.value;
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function isConnectionEnd(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE' || code === 'EPIPE';
}
