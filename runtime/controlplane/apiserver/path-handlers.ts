import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ResourceRow } from '../../api/resources.ts';
import { KUBERNETES_VERSION } from '../../base/version.ts';
import { sendJson, sendText } from './answers.ts';
import type { HealthChecks } from './health.ts';
import { chooseAccepted, isPlain } from './negotiate.ts';
import type { PathRequest } from './routes.ts';
import { methodNotAllowed, pathNotFound } from './status-errors.ts';

/** Documents that say what the server has; they are built when first asked for. */
export interface Documents {
  aggregatedDiscovery(rows: readonly ResourceRow[], root: 'core' | 'groups'): object;
  apiVersions(serverAddress: string): object;
  groupList(rows: readonly ResourceRow[]): object;
  group(rows: readonly ResourceRow[], group: string): object | undefined;
  resourceList(rows: readonly ResourceRow[], group: string, version: string): object | undefined;
  openApiV2(): object;
  openApiV3Root(hashes: ReadonlyMap<string, string>): object;
  openApiV3(group: string, version: string): object;
}

export interface RawAnswer {
  readonly contentType: string;
  readonly body: string;
  readonly cacheControl: string;
}

export interface PathHandlerOptions {
  readonly rows: () => readonly ResourceRow[];
  readonly serverAddress: string;
  readonly loadDocuments: () => Promise<Documents>;
  readonly health: HealthChecks;
  readonly formatMetrics: () => string;
  readonly openIdConfiguration: (() => RawAnswer) | undefined;
  readonly jwks: (() => RawAnswer) | undefined;
  readonly buildDate: string;
}

type PathHandler = (
  request: IncomingMessage,
  response: ServerResponse,
  info: PathRequest,
) => Promise<void> | void;

const HEALTH_PATH = /^\/(livez|readyz|healthz)(?:\/(.+))?$/;
const OPENAPI_V3_PATH = /^\/openapi\/v3\/(api\/(v1)|apis\/([^/]+)\/([^/]+))$/;

/** Serves all paths that are no objects, by an exact table and a few patterns. */
export class PathHandlers {
  readonly #options: PathHandlerOptions;
  readonly #exact: ReadonlyMap<string, PathHandler>;
  /** Serialised OpenAPI documents by path. */
  readonly #cache = new Map<string, { readonly body: Buffer; readonly etag: string }>();

  constructor(options: PathHandlerOptions) {
    this.#options = options;
    this.#exact = new Map<string, PathHandler>([
      ['/', (_request, response) => sendJson(response, 200, { paths: this.#paths() })],
      ['/version', (_request, response) => sendJson(response, 200, formatVersion(options.buildDate))],
      [
        '/metrics',
        (_request, response) => sendText(response, 200, options.formatMetrics(), 'text/plain; version=0.0.4'),
      ],
      ['/api', (request, response) => this.#roots(request, response, 'core')],
      ['/apis', (request, response) => this.#roots(request, response, 'groups')],
      ['/openapi/v2', (request, response) => this.#openApiV2(request, response)],
      ['/openapi/v3', (_request, response) => this.#openApiV3Root(response)],
      [
        '/.well-known/openid-configuration',
        (_request, response) => sendRaw(response, options.openIdConfiguration),
      ],
      ['/openid/v1/jwks', (_request, response) => sendRaw(response, options.jwks)],
    ]);
  }

  async serve(request: IncomingMessage, response: ServerResponse, info: PathRequest): Promise<void> {
    if (info.verb !== 'get' && info.verb !== 'head') throw methodNotAllowed();
    const path = info.path.length > 1 ? info.path.replace(/\/+$/, '') : info.path;
    const handler = this.#exact.get(path);
    if (handler) return handler(request, response, info);
    const health = HEALTH_PATH.exec(path);
    if (health) return this.#health(response, info, health[1]!, health[2]);
    const openApi = OPENAPI_V3_PATH.exec(path);
    if (openApi) return this.#openApiV3(request, response, openApi);
    return this.#legacyDiscovery(response, path);
  }

  async #roots(request: IncomingMessage, response: ServerResponse, root: 'core' | 'groups'): Promise<void> {
    const documents = await this.#options.loadDocuments();
    const rows = this.#options.rows();
    const accepted = chooseAccepted(request.headers.accept, (form) => form.as === 'object');
    response.setHeader('Vary', 'Accept');
    if (!accepted.discovery) {
      const body =
        root === 'core' ? documents.apiVersions(this.#options.serverAddress) : documents.groupList(rows);
      return sendJson(response, 200, body);
    }
    const body = {
      ...documents.aggregatedDiscovery(rows, root),
      apiVersion: `apidiscovery.k8s.io/${accepted.discovery}`,
    };
    const text = Buffer.from(JSON.stringify(body));
    response.writeHead(200, {
      'Content-Type': `application/json;g=apidiscovery.k8s.io;v=${accepted.discovery};as=APIGroupDiscoveryList`,
      'Content-Length': text.length,
      ETag: `"${hash(text)}"`,
    });
    response.end(text);
  }

  async #legacyDiscovery(response: ServerResponse, path: string): Promise<void> {
    const documents = await this.#options.loadDocuments();
    const rows = this.#options.rows();
    const [, root = '', first = '', second, ...more] = path.split('/');
    const isCore = root === 'api';
    if ((!isCore && root !== 'apis') || more.length > 0 || (isCore && second !== undefined))
      throw pathNotFound();
    const found = isCore
      ? documents.resourceList(rows, '', first)
      : second === undefined
        ? documents.group(rows, first)
        : documents.resourceList(rows, first, second);
    if (!found) throw pathNotFound();
    sendJson(response, 200, found);
  }

  #health(response: ServerResponse, info: PathRequest, endpoint: string, check: string | undefined): void {
    const excluded = new Set(info.query.getAll('exclude'));
    const report = this.#options.health.report(endpoint, { check, excluded });
    if (!report) throw pathNotFound();
    const isVerbose = info.query.has('verbose') || !report.isHealthy;
    sendText(
      response,
      report.isHealthy ? 200 : 500,
      isVerbose ? report.details : 'ok',
      'text/plain; charset=utf-8',
    );
  }

  async #openApiV2(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // Old clients ask for protobuf alone; only a 406 makes them look elsewhere.
    chooseAccepted(request.headers.accept, isPlain);
    const documents = await this.#options.loadDocuments();
    this.#sendCached(request, response, '/openapi/v2', () => documents.openApiV2());
  }

  async #openApiV3Root(response: ServerResponse): Promise<void> {
    const documents = await this.#options.loadDocuments();
    const hashes = new Map(
      this.#options.rows().map(({ group, version }) => {
        const path = group === '' ? `api/${version}` : `apis/${group}/${version}`;
        return [path, this.#versionHash(path)] as const;
      }),
    );
    sendJson(response, 200, documents.openApiV3Root(hashes));
  }

  async #openApiV3(
    request: IncomingMessage,
    response: ServerResponse,
    match: RegExpExecArray,
  ): Promise<void> {
    const group = match[3] ?? '';
    const version = match[2] ?? match[4] ?? '';
    if (!this.#options.rows().some((row) => row.group === group && row.version === version))
      throw pathNotFound();
    const documents = await this.#options.loadDocuments();
    if (request.url?.includes('hash=')) response.setHeader('Cache-Control', 'public, immutable');
    this.#sendCached(request, response, match[0], () => documents.openApiV3(group, version));
  }

  #sendCached(request: IncomingMessage, response: ServerResponse, key: string, build: () => object): void {
    let cached = this.#cache.get(key);
    if (!cached) {
      const body = Buffer.from(JSON.stringify(build()));
      cached = { body, etag: `"${hash(body)}"` };
      this.#cache.set(key, cached);
    }
    response.setHeader('ETag', cached.etag);
    response.setHeader('Vary', 'Accept');
    if (request.headers['if-none-match'] === cached.etag) {
      response.writeHead(304);
      response.end();
      return;
    }
    sendJson(response, 200, cached.body);
  }

  // The documents follow from the program alone, so its version stands for their content.
  #versionHash(path: string): string {
    return hash(Buffer.from(`${KUBERNETES_VERSION} ${this.#options.buildDate} ${path}`));
  }

  #paths(): readonly string[] {
    const versions = new Set(
      this.#options
        .rows()
        .map(({ group, version }) => (group === '' ? `/api/${version}` : `/apis/${group}/${version}`)),
    );
    return [...this.#exact.keys(), ...versions, '/healthz', '/livez', '/readyz']
      .filter((path) => path !== '/')
      .sort();
  }
}

function sendRaw(response: ServerResponse, build: (() => RawAnswer) | undefined): void {
  if (!build) throw pathNotFound();
  const { body, contentType, cacheControl } = build();
  response.setHeader('Cache-Control', cacheControl);
  sendText(response, 200, body, contentType);
}

function formatVersion(buildDate: string): object {
  const [major = '', minor = ''] = KUBERNETES_VERSION.slice(1).split('.');
  return {
    major,
    minor,
    emulationMajor: major,
    emulationMinor: minor,
    minCompatibilityMajor: major,
    minCompatibilityMinor: String(Number(minor) - 1),
    gitVersion: KUBERNETES_VERSION,
    gitCommit: 'tkadm',
    gitTreeState: 'clean',
    buildDate,
    goVersion: 'none',
    compiler: 'tkadm',
    platform: 'linux/amd64',
  };
}

function hash(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 32).toUpperCase();
}
