import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Duplex } from 'node:stream';
import { formatError } from '../../base/errors.ts';
import { FileGroup } from '../../base/file-group.ts';
import { readFileIfExists } from '../../base/files.ts';
import { parseCertificates } from '../../base/key-pair.ts';
import type { Logger } from '../../base/log.ts';
import type { CriClient } from '../../cri/client.ts';
import type { ApiLink } from '../api-link.ts';
import type { KubeletConfig } from '../kubelet-config.ts';
import type { MachineFacts } from '../node/machine.ts';
import type { PodManager } from '../pod-manager.ts';
import { openServingCertificate, type ServingCertificate } from '../tls/serving-certificate.ts';
import { Authenticator } from './authenticate.ts';
import { Authorizer } from './authorize.ts';
import { RequestError } from './container-logs.ts';
import { handleRequest } from './routes.ts';
import { parseStreamPath, requestStreamUrl, tunnel } from './streaming.ts';

export interface KubeletServerOptions {
  readonly cri: CriClient;
  readonly link: ApiLink;
  readonly manager: PodManager;
  readonly config: KubeletConfig;
  readonly machine: MachineFacts;
  readonly nodeName: string;
  readonly addresses: readonly string[];
  readonly certDir: string;
  readonly rootDir: string;
  /** Resident memory of this process. */
  readonly rssBytes: () => number;
  /** Told of each failure to renew the serving certificate. */
  readonly onCertificateFailure: (message: string) => void;
  readonly now: () => number;
  readonly random: () => number;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Serves the kubelet API over TLS: who calls is known by certificate or token, what is allowed by the API server. */
export async function startKubeletServer(options: KubeletServerOptions): Promise<Server> {
  const { config, link, now, log, signal } = options;
  const certificate = await openServingCertificate({
    ...options,
    certFile: config.tlsCertFile,
    keyFile: config.tlsPrivateKeyFile,
    isSignedByCluster: config.isServingSignedByCluster,
    client: () => link.client,
    onFailure: options.onCertificateFailure,
    now: () => new Date(now()),
  });
  const clientCa = await openClientCa(config);
  const tls = () => ({ ...formatTls(certificate, clientCa), minVersion: config.tlsMinVersion });
  const server = createServer({ ...tls(), requestCert: true, rejectUnauthorized: false });
  const guard = createGuard(options);
  server.on('request', (request, response) => void serve(options, guard, { request, response }));
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    void serveUpgrade(options, guard, { request, socket, head });
  });
  server.on('tlsClientError', (error: Error) => log.debug(`TLS handshake failed: ${error.message}`));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(config.port, config.address, () => resolve());
  });
  const reload = () => server.setSecureContext(tls());
  certificate.follow(reload);
  clientCa.follow({ onChange: reload, log, signal });
  return server;
}

/** The CA of client certificates; its file may come later than the agent. */
async function openClientCa({ clientCaFile }: KubeletConfig): Promise<FileGroup> {
  const check = ([pem = '']: readonly string[]) => void parseCertificates(pem);
  const paths = clientCaFile ? [clientCaFile] : [];
  const text = clientCaFile ? await readFileIfExists(clientCaFile) : undefined;
  return new FileGroup({ subject: 'client CA', paths, check }, [text ?? '']);
}

function formatTls(certificate: ServingCertificate, clientCa: FileGroup) {
  const [ca = ''] = clientCa.texts;
  // Without a CA nobody's certificate may count: no `ca` at all would mean Node.js's public roots.
  return { ...certificate.pair(), ca: ca === '' ? [] : [ca] };
}

type Guard = (request: IncomingMessage) => Promise<void>;

/** Throws a RequestError unless the caller is known and allowed. */
function createGuard(options: KubeletServerOptions): Guard {
  const { link, config, nodeName, now } = options;
  const authenticator = new Authenticator({
    link,
    isAnonymousAllowed: config.isAnonymousAllowed,
    isWebhook: config.isWebhookAuthentication,
    now,
  });
  const authorizer = new Authorizer({ link, nodeName, mode: config.authorizationMode, now });
  return async (request) => {
    const user = await authenticator.authenticate(request);
    if (!user) throw new RequestError(401, 'Unauthorized');
    const path = request.url?.split('?')[0] ?? '/';
    const method = request.method ?? 'GET';
    if (await authorizer.isAllowed(user, method, path)) return;
    throw new RequestError(
      403,
      `Forbidden (user=${user.username}, verb=${method.toLowerCase()}, resource=nodes, path=${path})`,
    );
  };
}

async function serve(
  options: KubeletServerOptions,
  guard: Guard,
  { request, response }: { readonly request: IncomingMessage; readonly response: ServerResponse },
): Promise<void> {
  try {
    await guard(request);
    await handleRequest(options, request, response);
  } catch (error) {
    const status = error instanceof RequestError ? error.httpStatus : 500;
    if (response.headersSent) response.destroy();
    else {
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
      response.end(formatError(error));
    }
  }
}

async function serveUpgrade(
  options: KubeletServerOptions,
  guard: Guard,
  {
    request,
    socket,
    head,
  }: { readonly request: IncomingMessage; readonly socket: Duplex; readonly head: Buffer },
): Promise<void> {
  try {
    await guard(request);
    const target = new URL(request.url ?? '/', 'https://kubelet');
    const stream = parseStreamPath(target.pathname);
    if (!stream) throw new RequestError(404, `no stream at "${target.pathname}"`);
    const url = await requestStreamUrl(options, stream, target.searchParams);
    tunnel(request, socket, { head, url });
  } catch (error) {
    const status = error instanceof RequestError ? error.httpStatus : 500;
    const text = formatError(error);
    socket.end(
      `HTTP/1.1 ${status} Error\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
    );
  }
}
