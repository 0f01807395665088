// Load on an API server from a process of its own: one kept-alive connection for each client, requests one
// after the other on each. Reads jobs as JSON lines, answers each with one line.

import { Agent, request } from 'node:https';
import { createInterface } from 'node:readline';
import { type ClientConfig, loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { quantile } from '../measure.ts';
import { print } from './watching.ts';

/** What one line on standard input asks for. */
type Job =
  | { readonly kind: 'create'; readonly clients: number; readonly seconds: number }
  | { readonly kind: 'get'; readonly clients: number; readonly seconds: number }
  | { readonly kind: 'fill'; readonly namespace: string; readonly count: number }
  | { readonly kind: 'fill-pods'; readonly namespace: string; readonly count: number }
  | { readonly kind: 'list'; readonly namespace: string; readonly times: number }
  | { readonly kind: 'watch'; readonly watchers: number; readonly times: number };

const NAMESPACE = 'default';
/** About 1 KB with its metadata. */
const FILLING = 'x'.repeat(900);
const { kubeconfigPath } = JSON.parse(process.argv[2] ?? '') as { kubeconfigPath: string };

let names = 0;
const created: string[] = [];

void main();

async function main(): Promise<void> {
  const config = await loadClientConfig(kubeconfigPath);
  print({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    print(await perform(config, JSON.parse(line) as Job));
  }
}

function perform(config: ClientConfig, job: Job): Promise<unknown> {
  switch (job.kind) {
    case 'create':
      return load(config, job, () => ({
        method: 'POST',
        path: collection(NAMESPACE),
        body: configMap(NAMESPACE),
      }));
    case 'get':
      return load(config, job, () => ({
        method: 'GET',
        path: `${collection(NAMESPACE)}/${created[Math.floor(Math.random() * created.length)]}`,
      }));
    case 'fill':
      return fill(config, job.count, () => ({
        method: 'POST',
        path: collection(job.namespace),
        body: configMap(job.namespace),
      }));
    case 'fill-pods':
      return fill(config, job.count, () => ({
        method: 'POST',
        path: `/api/v1/namespaces/${job.namespace}/pods`,
        body: pod(job.namespace),
      }));
    case 'list':
      return list(config, job);
    case 'watch':
      return watch(config, job);
  }
}

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: string;
}

/** Requests for some seconds: how many a second, and the latency that 99 of 100 stay below. */
async function load(
  config: ClientConfig,
  { clients, seconds }: { readonly clients: number; readonly seconds: number },
  next: () => Call,
) {
  const latencies: number[] = [];
  const startedAt = performance.now();
  const end = startedAt + seconds * 1000;
  await Promise.all(
    Array.from({ length: clients }, async () => {
      const agent = openAgent(config);
      while (performance.now() < end) {
        const sentAt = performance.now();
        await send(config, agent, next());
        latencies.push(performance.now() - sentAt);
      }
      agent.destroy();
    }),
  );
  const rate = (latencies.length * 1000) / (performance.now() - startedAt);
  return { rate, p99Ms: quantile(latencies, 0.99) };
}

async function fill(config: ClientConfig, count: number, next: () => Call) {
  let left = count;
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      const agent = openAgent(config);
      while (left > 0) {
        left -= 1;
        await send(config, agent, next());
      }
      agent.destroy();
    }),
  );
  return { count };
}

async function list(config: ClientConfig, job: { readonly namespace: string; readonly times: number }) {
  const agent = openAgent(config);
  const ms: number[] = [];
  let bytes = 0;
  for (let index = 0; index < job.times; index += 1) {
    const startedAt = performance.now();
    bytes = (await send(config, agent, { method: 'GET', path: collection(job.namespace) })).length;
    ms.push(performance.now() - startedAt);
  }
  agent.destroy();
  return { ms, bytes };
}

/** From the moment a create is sent until the last watcher has its event. */
async function watch(
  config: ClientConfig,
  { watchers, times }: { readonly watchers: number; readonly times: number },
) {
  const agent = new Agent({ keepAlive: true, maxSockets: watchers, ...tls(config) });
  const counter = { left: 0, done: () => {} };
  const writer = openAgent(config);
  const answer = await send(config, writer, { method: 'GET', path: `${collection(NAMESPACE)}?limit=1` });
  const { metadata } = JSON.parse(answer.toString()) as { metadata: { resourceVersion: string } };
  const streams = await Promise.all(
    Array.from({ length: watchers }, () =>
      openWatch(config, agent, { counter, from: metadata.resourceVersion }),
    ),
  );
  const ms: number[] = [];
  for (let index = 0; index < times; index += 1) {
    counter.left = watchers;
    const all = new Promise<void>((resolve) => {
      counter.done = resolve;
    });
    const startedAt = performance.now();
    await Promise.all([
      all,
      send(config, writer, { method: 'POST', path: collection(NAMESPACE), body: configMap(NAMESPACE) }),
    ]);
    ms.push(performance.now() - startedAt);
  }
  for (const stream of streams) stream.destroy();
  writer.destroy();
  agent.destroy();
  return { ms };
}

interface WatchOptions {
  readonly counter: { left: number; done: () => void };
  readonly from: string;
}

function openWatch(config: ClientConfig, agent: Agent, { counter, from }: WatchOptions) {
  const url = new URL(`${collection(NAMESPACE)}?watch=1&resourceVersion=${from}`, config.server);
  return new Promise<{ destroy(): void }>((resolve, reject) => {
    const call = request(url, { agent }, (response) => {
      resolve(response);
      response.on('data', (chunk: Buffer) => {
        if (counter.left === 0 || chunk.at(-1) !== 10) return;
        counter.left -= 1;
        if (counter.left === 0) counter.done();
      });
      response.on('error', () => {});
    });
    call.on('error', reject);
    call.end();
  });
}

function send(config: ClientConfig, agent: Agent, { method, path, body }: Call): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const call = request(
      new URL(path, config.server),
      { agent, method, headers: body ? { 'content-type': 'application/json' } : {} },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const bytes = Buffer.concat(chunks);
          if ((response.statusCode ?? 0) < 300) resolve(bytes);
          else reject(new Error(`${method} ${path}: ${response.statusCode} ${bytes}`));
        });
      },
    );
    call.on('error', reject);
    call.end(body);
  });
}

function openAgent(config: ClientConfig): Agent {
  return new Agent({ keepAlive: true, maxSockets: 1, ...tls(config) });
}

function tls({ caPem, certPem, keyPem }: ClientConfig) {
  return { ca: caPem, cert: certPem, key: keyPem };
}

function collection(namespace: string): string {
  return `/api/v1/namespaces/${namespace}/configmaps`;
}

function configMap(namespace: string): string {
  const name = nextName();
  if (namespace === NAMESPACE) created.push(name);
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace },
    data: { filling: FILLING },
  });
}

/** Names a node that does not exist, so that nothing runs it. */
function pod(namespace: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: nextName(), namespace },
    spec: { schedulerName: 'nobody', containers: [{ name: 'main', image: 'busybox' }] },
  });
}

function nextName(): string {
  names += 1;
  return `bench-${process.pid}-${names}`;
}
