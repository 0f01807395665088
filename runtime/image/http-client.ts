import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { rootCertificates } from 'node:tls';
import { TkadmError } from '../base/errors.ts';

export interface HttpRequest {
  readonly method: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: Uint8Array | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An answer whose body must be read, or thrown away with `drop`. */
export interface HttpResponse {
  readonly status: number;
  header(name: string): string | undefined;
  /** Fails with the error of the connection when it breaks off. */
  readonly body: IncomingMessage;
}

/** How the server's certificate is checked; the usual authorities when empty. */
export interface HttpTrust {
  /** PEM file with further authorities. */
  readonly caFile?: string | undefined;
  readonly skipVerify?: boolean | undefined;
}

const MAX_REDIRECTS = 5;
/** A server that is silent for as long will not go on. */
const SILENCE_MS = 60_000;
const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308];

/** A client that keeps its connections until `close`. */
export class HttpClient {
  readonly #http = new HttpAgent({ keepAlive: true });
  readonly #trust: HttpTrust;
  #https: Promise<HttpsAgent> | undefined;

  constructor(trust: HttpTrust = {}) {
    this.#trust = trust;
  }

  /**
   * Sends a request; GET and HEAD follow redirects, another server than the first is not told who asks. Errors are
   * those of Node's sockets.
   * @throws IMAGE_REGISTRIES_INVALID when the authorities' file cannot be read.
   */
  async send(url: URL, request: HttpRequest): Promise<HttpResponse> {
    let current = url;
    let headers = request.headers;
    for (let count = 0; ; count += 1) {
      const response = await this.#sendOnce(current, { ...request, headers });
      const location = response.header('location');
      const isLooking = request.method === 'GET' || request.method === 'HEAD';
      if (!isLooking || !location || !REDIRECTS.includes(response.status)) return response;
      if (count >= MAX_REDIRECTS) throw new Error(`more than ${MAX_REDIRECTS} redirects`);
      drop(response);
      const next = new URL(location, current);
      if (next.protocol !== 'https:' && current.protocol === 'https:') {
        throw new Error(`a redirect from https to "${next.protocol}//${next.host}"`);
      }
      if (next.host !== current.host) headers = withoutAuthorization(headers);
      current = next;
    }
  }

  close(): void {
    this.#http.destroy();
    this.#https?.then((agent) => agent.destroy()).catch(() => {});
  }

  async #sendOnce(url: URL, { method, headers = {}, body, signal }: HttpRequest): Promise<HttpResponse> {
    const isSecure = url.protocol === 'https:';
    if (isSecure) this.#https ??= createSecureAgent(this.#trust);
    const agent = isSecure ? await this.#https : this.#http;
    return new Promise((resolve, reject) => {
      const outgoing = (isSecure ? requestHttps : requestHttp)(url, {
        method,
        headers: { 'user-agent': 'tkadm', ...headers, ...lengthOf(method, body) },
        agent,
        ...(signal ? { signal } : {}),
      });
      outgoing.setTimeout(SILENCE_MS, () => outgoing.destroy(new Error(`silent for ${SILENCE_MS / 1000} s`)));
      outgoing.once('error', reject);
      outgoing.once('response', (response) => {
        // A broken body is reported to who reads it.
        response.on('error', () => {});
        resolve({
          status: response.statusCode ?? 0,
          header: (name) => [response.headers[name]].flat().join(', ') || undefined,
          body: response,
        });
      });
      outgoing.end(body);
    });
  }
}

/** Reads an answer's body without use for it, so that its connection can serve again. */
export function drop({ body }: HttpResponse): void {
  body.resume();
}

/** The whole body. @throws Error when it is longer than `maxBytes` */
export async function readBody({ body }: HttpResponse, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += (chunk as Buffer).byteLength;
    if (length > maxBytes) throw new Error(`the answer is longer than ${maxBytes} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

async function createSecureAgent({ caFile, skipVerify = false }: HttpTrust): Promise<HttpsAgent> {
  const options = { keepAlive: true, rejectUnauthorized: !skipVerify };
  if (caFile === undefined) return new HttpsAgent(options);
  try {
    return new HttpsAgent({ ...options, ca: [...rootCertificates, await readFile(caFile, 'utf8')] });
  } catch (error) {
    throw new TkadmError('IMAGE_REGISTRIES_INVALID', `Cannot read "${caFile}": ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function lengthOf(method: string, body: Uint8Array | undefined): Record<string, string> {
  if (body === undefined && (method === 'GET' || method === 'HEAD')) return {};
  return { 'content-length': String(body?.byteLength ?? 0) };
}

function withoutAuthorization(headers: HttpRequest['headers'] = {}): HttpRequest['headers'] {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization'),
  );
}
