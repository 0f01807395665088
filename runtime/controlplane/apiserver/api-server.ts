import { type IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from '../../base/log.ts';
import type { AdmissionPlugin } from '../admission/types.ts';
import { forbidden } from '../auth/forbidden.ts';
import { applyImpersonation } from '../auth/impersonation.ts';
import { createReviewHandlers } from '../auth/reviews.ts';
import type { TokenIssuer } from '../auth/service-account-tokens.ts';
import type { RequestAuthenticator, RuleAuthorizer } from '../auth/types.ts';
import type { ClusterState } from '../store/cluster-state.ts';
import { HealthChecks } from './health.ts';
import { Identity } from './identity.ts';
import { getObject } from './list-handler.ts';
import { Metrics } from './metrics.ts';
import { PathHandlers } from './path-handlers.ts';
import { type KubeletOptions, PodStreams } from './pod-streams.ts';
import { Registry } from './registry.ts';
import { ResourceHandler } from './resource-handler.ts';
import { RouteTable } from './routes.ts';
import {
  loadApply,
  loadPatches,
  loadTableBuilder,
  parseSelectors,
  SCHEMA_CODEC,
  SCHEMA_RULES,
} from './schema.ts';
import { RequestPipeline } from './server.ts';
import { methodNotAllowed } from './status-errors.ts';
import { type ReviewHandler, SubresourceHandlers } from './subresources.ts';
import { WatchServer } from './watch-handler.ts';

/** PEM texts of the serving certificate and its key, and of the CAs whose client certificates are asked for. */
export interface TlsOptions {
  readonly cert: string;
  readonly key: string;
  readonly clientCas: readonly string[];
}

export interface ApiServerOptions {
  readonly state: ClusterState;
  readonly authenticator: RequestAuthenticator;
  readonly authorizer: RuleAuthorizer;
  readonly admission: readonly AdmissionPlugin[];
  readonly tokenIssuer: TokenIssuer | undefined;
  /** Asked for at each request to a kubelet. */
  readonly kubelet: () => KubeletOptions;
  readonly tls: TlsOptions;
  /** "IP:port", told to clients by GET /api. */
  readonly serverAddress: string;
  readonly eventTtlMs: number;
  readonly buildDate: string;
  readonly logger: Logger;
  readonly now: () => Date;
  readonly random: () => number;
}

/** Clients keep connections open for 90 s; the server must not close them first. */
const KEEP_ALIVE_MS = 180_000;
/** Of request line and headers together: exec carries its command in the URL. Go's default. */
const MAX_HEADER_BYTES = 1024 * 1024;
const SWEEP_INTERVAL_MS = 60_000;
/** Changes older than this are forgotten, as upstream compacts etcd. */
const HISTORY_MS = 5 * 60_000;
const DRAIN_MS = 3000;

/** The HTTPS server over a cluster's state. */
export class ApiServer {
  readonly registry: Registry;
  readonly #options: ApiServerOptions;
  readonly #watches: WatchServer;
  readonly #identity: Identity;
  readonly #pipeline: RequestPipeline;
  readonly #server: Server;
  #sweep: NodeJS.Timeout | undefined;
  #isReady = false;

  constructor(options: ApiServerOptions) {
    this.#options = options;
    const { state, now } = options;
    this.registry = new Registry({ state, admission: options.admission, rules: SCHEMA_RULES, now });
    this.#watches = new WatchServer(state, options.random);
    const { authenticator, authorizer } = options;
    this.#identity = new Identity({ authenticator, authorizer, impersonate: applyImpersonation, now });
    this.#pipeline = this.#createPipeline();
    this.#server = createServer(
      {
        ...formatTls(options.tls),
        requestCert: true,
        rejectUnauthorized: false,
        ALPNProtocols: ['http/1.1'],
        keepAliveTimeout: KEEP_ALIVE_MS,
        requestTimeout: 0,
        maxHeaderSize: MAX_HEADER_BYTES,
        noDelay: true,
      },
      (request, response) => void this.#pipeline.handle(request, response),
    );
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
  }

  /** Starts to answer requests; returns the port. */
  async listen(address: string, port: number): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, address, resolve);
    });
    this.#sweep = setInterval(() => void this.#sweepOld(), SWEEP_INTERVAL_MS);
    return (this.#server.address() as AddressInfo).port;
  }

  /** Says that the server's own objects are there: /readyz succeeds from now on. */
  markReady(): void {
    this.#isReady = true;
  }

  /**
   * Takes new certificates for connections from now on. Those that are open stay; who their clients are is
   * looked at again, as a CA may be gone.
   */
  setTls(tls: TlsOptions): void {
    this.#server.setSecureContext(formatTls(tls));
    this.#identity.forget();
  }

  /** Stops accepting, ends watches, lets requests under way finish for a moment. */
  async close(): Promise<void> {
    this.#isReady = false;
    clearInterval(this.#sweep);
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#watches.closeAll();
    this.#server.closeIdleConnections();
    const timer = setTimeout(() => this.#server.closeAllConnections(), DRAIN_MS);
    await closed;
    clearTimeout(timer);
  }

  #createPipeline(): RequestPipeline {
    const { authorizer, state, logger } = this.#options;
    const routes = new RouteTable();
    const metrics = new Metrics(state, () => this.#watches.openCount);
    const resources = this.#createResourceHandler();
    const paths = this.#createPathHandlers(routes, metrics);
    return new RequestPipeline({
      routes,
      identity: this.#identity,
      authorizer,
      confirm: () => state.store.confirm(),
      forbidden,
      serveResource: (call, upgrade) => resources.serve(call, upgrade),
      servePath: (request, response, info) => paths.serve(request, response, info),
      logger,
      onDone: (info, code, durationMs) => {
        metrics.record(
          info.verb,
          info.kind === 'resource' && info.route ? info.plural : '',
          code,
          durationMs,
        );
      },
    });
  }

  #createResourceHandler(): ResourceHandler {
    const { state, kubelet, now, authorizer } = this.#options;
    const shared = { registry: this.registry, codec: SCHEMA_CODEC, loadPatches };
    const subresources = new SubresourceHandlers({
      ...shared,
      streams: new PodStreams(state, kubelet),
      reviews: this.#createReviews(),
      issueToken: (call, request) => {
        if (!this.#options.tokenIssuer) throw methodNotAllowed();
        type Parts = Parameters<TokenIssuer['issueToken']>;
        return this.#options.tokenIssuer.issueToken(
          getObject(state, call).object as Parts[0],
          request as Parts[1],
        );
      },
    });
    return new ResourceHandler({
      ...shared,
      watches: this.#watches,
      authorizer,
      parseSelectors,
      loadTableBuilder,
      subresources,
      loadApply,
      formatYaml: async (value) => (await import('js-yaml')).dump(value),
      now,
    });
  }

  #createReviews(): Readonly<Record<string, ReviewHandler>> {
    const { authenticator, authorizer } = this.#options;
    const handlers = createReviewHandlers({ authenticator, authorizer });
    return Object.fromEntries(
      Object.entries(handlers).map(([kind, handler]): [string, ReviewHandler] => [
        kind,
        (call, review) => handler(review, call.user, call.info.namespace),
      ]),
    );
  }

  #createPathHandlers(routes: RouteTable, metrics: Metrics): PathHandlers {
    const { tokenIssuer, serverAddress, buildDate } = this.#options;
    return new PathHandlers({
      rows: () => routes.rows(),
      serverAddress,
      loadDocuments: async () => (await import('./documents.ts')).DOCUMENTS,
      health: new HealthChecks([
        { name: 'etcd', endpoints: ['livez', 'readyz'], check: () => this.#storeProblem() },
        {
          name: 'poststarthook/bootstrap-objects',
          endpoints: ['readyz'],
          check: () => (this.#isReady ? undefined : 'not finished'),
        },
      ]),
      formatMetrics: () => metrics.format(),
      openIdConfiguration: tokenIssuer && (() => tokenIssuer.serveOpenIdConfiguration()),
      jwks: tokenIssuer && (() => tokenIssuer.serveJwks()),
      buildDate,
    });
  }

  #storeProblem(): string | undefined {
    const { sizeBytes, maxSizeBytes, hasFailed } = this.#options.state.store.stats();
    if (hasFailed) return 'the store cannot be written';
    return sizeBytes >= maxSizeBytes ? `the store is full: ${sizeBytes} bytes` : undefined;
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const response = new ServerResponse(request);
    response.assignSocket(socket as Socket);
    response.shouldKeepAlive = false;
    socket.on('error', () => socket.destroy());
    response.once('finish', () => socket.end());
    void this.#pipeline.handle(request, response, { socket, head });
  }

  /** Forgets old changes and deletes events whose time has come. */
  async #sweepOld(): Promise<void> {
    const nowMs = this.#options.now().getTime();
    const { state, eventTtlMs, logger } = this.#options;
    state.forgetBefore(nowMs - HISTORY_MS);
    const events = state.resource({ group: '', plural: 'events' });
    for (const event of events.list()) {
      const { metadata, lastTimestamp } = event.object as {
        readonly metadata?: { readonly name?: string; readonly creationTimestamp?: string };
        readonly lastTimestamp?: string | null;
      };
      const at = Date.parse(lastTimestamp || metadata?.creationTimestamp || '');
      if (!(at < nowMs - eventTtlMs)) continue;
      const location = { row: events.row, namespace: event.namespace, name: metadata?.name ?? '' };
      await state.delete(location, event.revision).catch((error) => {
        logger.warn('old event stays', { error: String(error) });
      });
    }
  }
}

function formatTls({ cert, key, clientCas }: TlsOptions) {
  return { cert, key, ca: [...clientCas], minVersion: 'TLSv1.2' as const };
}
