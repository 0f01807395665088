import { createReadStream } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { drained } from '../../base/drained.ts';
import { isTrue, openContainerLogs, parseLogQuery, RequestError, requirePod } from './container-logs.ts';
import { formatAgentMetrics, formatResourceMetrics } from './metrics.ts';
import type { KubeletServerOptions } from './server.ts';
import { buildSummary } from './stats.ts';

interface Exchange {
  readonly options: KubeletServerOptions;
  readonly url: URL;
  readonly response: ServerResponse;
  readonly signal: AbortSignal;
}

interface Route {
  readonly pattern: RegExp;
  readonly handle: (exchange: Exchange, match: RegExpExecArray) => Promise<void>;
}

const LOG_ROOT = '/var/log';
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** The kubelet API without its streams. */
const ROUTES: readonly Route[] = [
  {
    pattern: /^\/healthz(\/(ping|log|syncloop))?$/,
    handle: async ({ response }) => sendText(response, 'ok'),
  },
  { pattern: /^\/pods\/?$/, handle: async (exchange) => sendPods(exchange) },
  { pattern: /^\/runningpods\/?$/, handle: async (exchange) => sendRunningPods(exchange) },
  {
    pattern: /^\/containerLogs\/([^/]+)\/([^/]+)\/([^/]+)$/,
    handle: async (exchange, match) => sendContainerLogs(exchange, match.slice(1).map(decodeURIComponent)),
  },
  {
    pattern: /^\/stats\/summary$/,
    handle: async ({ options, response }) => {
      const { cri, nodeName, rootDir, machine } = options;
      sendJson(response, await buildSummary({ cri, nodeName, rootDir, memoryBytes: machine.memoryBytes }));
    },
  },
  {
    pattern: /^\/metrics$/,
    handle: async ({ options, response }) =>
      sendText(response, formatAgentMetrics(options.manager, { rss: options.rssBytes() }), METRICS_TYPE),
  },
  {
    pattern: /^\/metrics\/resource$/,
    handle: async ({ options, response }) =>
      sendText(response, await formatResourceMetrics(options.cri, options.machine.memoryBytes), METRICS_TYPE),
  },
  { pattern: /^\/logs(\/.*)?$/, handle: async (exchange, match) => sendHostLog(exchange, match[1] ?? '/') },
  {
    pattern: /^\/configz$/,
    handle: async ({ options, response }) => sendJson(response, { kubeletconfig: options.config }),
  },
];

/** Answers one request. @throws RequestError 404 when nothing is served there. */
export async function handleRequest(
  options: KubeletServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'https://kubelet');
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    throw new RequestError(405, `method ${request.method} needs an upgraded connection at "${url.pathname}"`);
  }
  for (const { pattern, handle } of ROUTES) {
    const match = pattern.exec(url.pathname);
    if (!match) continue;
    const controller = new AbortController();
    response.on('close', () => controller.abort());
    await handle({ options, url, response, signal: controller.signal }, match);
    return;
  }
  throw new RequestError(404, `404 page not found: "${url.pathname}"`);
}

function sendText(response: ServerResponse, text: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(200, { 'content-type': type });
  response.end(text);
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}

function sendPods({ options, response }: Exchange): void {
  const items = options.manager
    .workers()
    .map((worker) => ({ ...worker.pod, status: worker.status ?? worker.pod.status }));
  sendJson(response, { kind: 'PodList', apiVersion: 'v1', metadata: {}, items });
}

function sendRunningPods({ options, response }: Exchange): void {
  const items = options.manager.workers().flatMap(({ pod, state }) => {
    const running = (state?.containers ?? []).filter((container) => container.state === 'running');
    if (running.length === 0) return [];
    const { name, namespace, uid } = pod.metadata;
    const containers = running.map((container) => ({
      name: container.name,
      image: container.image,
      resources: {},
    }));
    return [{ metadata: { name, namespace, uid }, spec: { containers }, status: {} }];
  });
  sendJson(response, { kind: 'PodList', apiVersion: 'v1', metadata: {}, items });
}

async function sendContainerLogs(
  exchange: Exchange,
  [namespace, pod, name]: readonly string[],
): Promise<void> {
  const { options, url, response, signal } = exchange;
  const worker = requirePod(options.manager, namespace ?? '', pod ?? '');
  const query = parseLogQuery(url.searchParams, new Date(options.now()));
  const chunks = openContainerLogs({
    worker,
    containerName: name ?? '',
    isPrevious: isTrue(url.searchParams.get('previous')),
    query,
    signal,
  });
  response.writeHead(200, { 'content-type': 'text/plain' });
  // A follower's client waits for the headers even when there is no output yet.
  if (query.isFollowing) response.flushHeaders();
  try {
    for await (const chunk of chunks) {
      if (response.destroyed) return;
      if (!response.write(chunk)) await drained(response);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  response.end();
}

/** A file of /var/log, or the names in a directory; links out of it are refused. */
async function sendHostLog({ options, response }: Exchange, path: string): Promise<void> {
  if (!options.config.enableSystemLogHandler) throw new RequestError(403, 'logs endpoint is disabled');
  const real = await realpath(join(LOG_ROOT, decodeURIComponent(path))).catch(() => undefined);
  if (!real || (real !== LOG_ROOT && !real.startsWith(`${LOG_ROOT}/`))) {
    throw new RequestError(404, `no log at "${path}"`);
  }
  if ((await stat(real)).isDirectory()) {
    const entries = await readdir(real, { withFileTypes: true });
    const names = entries.map((entry) => `${entry.name}${entry.isDirectory() ? '/' : ''}`).sort();
    const lines = names.map((name) => `<a href="${encodeURI(name)}">${name.replaceAll('<', '&lt;')}</a>\n`);
    return sendText(response, `<pre>\n${lines.join('')}</pre>\n`, 'text/html; charset=utf-8');
  }
  response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
  await pipeline(createReadStream(real), response);
}
