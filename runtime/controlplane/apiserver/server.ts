import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Logger } from '../../base/log.ts';
import type { AccessAttributes, Authorizer, UserInfo } from '../auth/types.ts';
import { sendError } from './answers.ts';
import type { Call } from './call.ts';
import type { Identity } from './identity.ts';
import { type PathRequest, parseRequest, type ResourceRequest, type RouteTable } from './routes.ts';
import { StatusError } from './status-error.ts';
import { methodNotAllowed, pathNotFound } from './status-errors.ts';

export interface RequestPipelineOptions {
  readonly routes: RouteTable;
  readonly identity: Identity;
  readonly authorizer: Authorizer;
  /** Brings memory up to all that was written before, by whichever server. */
  readonly confirm: () => Promise<void>;
  readonly forbidden: (attributes: AccessAttributes, reason?: string) => StatusError;
  readonly serveResource: (call: Call, socket: UpgradeSocket | undefined) => Promise<void>;
  readonly servePath: (
    request: IncomingMessage,
    response: ServerResponse,
    info: PathRequest,
  ) => Promise<void>;
  readonly logger: Logger;
  readonly onDone: (info: ResourceRequest | PathRequest, code: number, durationMs: number) => void;
}

/** The connection of a request that asked for an upgrade, and what was already read from it. */
export interface UpgradeSocket {
  readonly socket: Duplex;
  readonly head: Buffer;
}

/** Takes a request through authentication and authorization to its handler; failures become a Status. */
export class RequestPipeline {
  readonly #options: RequestPipelineOptions;

  constructor(options: RequestPipelineOptions) {
    this.#options = options;
  }

  async handle(request: IncomingMessage, response: ServerResponse, upgrade?: UpgradeSocket): Promise<void> {
    const startMs = performance.now();
    const info = parseRequest(request.method ?? 'GET', request.url ?? '/', this.#options.routes);
    response.setHeader('Cache-Control', 'no-cache, private');
    try {
      if (info.kind === 'resource' && needsNewest(info)) await this.#options.confirm();
      const user = await this.#options.identity.identify(request);
      await this.#authorize(info, user);
      await this.#serve(info, user, { request, response, upgrade });
    } catch (error) {
      if (!(error instanceof StatusError)) this.#logFailure(request, error);
      sendError(response, error);
    }
    this.#options.onDone(info, response.statusCode, performance.now() - startMs);
  }

  async #authorize(info: ResourceRequest | PathRequest, user: UserInfo): Promise<void> {
    const attributes: AccessAttributes =
      info.kind === 'path'
        ? { user, kind: 'path', verb: info.verb, path: info.path }
        : {
            user,
            kind: 'resource',
            verb: info.verb,
            group: info.group,
            version: info.version,
            resource: info.plural,
            subresource: info.subresource,
            namespace: info.namespace,
            name: info.name,
            fieldSelector: info.query.get('fieldSelector') ?? '',
          };
    const decision = await this.#options.authorizer.authorize(attributes);
    if (!decision.isAllowed) throw this.#options.forbidden(attributes, decision.reason);
  }

  async #serve(
    info: ResourceRequest | PathRequest,
    user: UserInfo,
    io: {
      readonly request: IncomingMessage;
      readonly response: ServerResponse;
      readonly upgrade: UpgradeSocket | undefined;
    },
  ): Promise<void> {
    const { request, response, upgrade } = io;
    if (info.kind === 'path') return this.#options.servePath(request, response, info);
    const { route } = info;
    if (!route) throw pathNotFound();
    const subresource = route.subresources.get(info.subresource);
    if (info.subresource !== '' && !subresource) throw pathNotFound();
    const verbs = subresource?.verbs ?? route.row.verbs;
    const verb = info.verb;
    if (!verbs.includes(verb) || (verb === 'create' && info.name !== '' && info.subresource === '')) {
      throw methodNotAllowed();
    }
    if (route.row.namespaced && info.namespace === '' && info.verb !== 'list' && info.verb !== 'watch') {
      throw methodNotAllowed();
    }
    await this.#options.serveResource({ info, route, row: route.row, user, request, response }, upgrade);
  }

  #logFailure(request: IncomingMessage, error: unknown): void {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#options.logger.error('request failed', { method: request.method, url: request.url, error: stack });
  }
}

/** False for reads that name a resourceVersion to begin at: "0" is whatever there is (apimachinery ListOptions). */
function needsNewest({ verb, query }: ResourceRequest): boolean {
  const isRead = verb === 'get' || verb === 'list' || verb === 'watch';
  return !isRead || (query.get('resourceVersion') ?? '') === '';
}
