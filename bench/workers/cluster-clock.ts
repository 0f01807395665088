// Watches a cluster come up from outside: prints the times (milliseconds since 1970) at which the node was
// Ready, and after one line on standard input at which a first pod ran and the cluster's DNS answered.

import { createSocket } from 'node:dgram';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { encode } from 'dns-packet';
import { ApiClient } from '../../runtime/api/client.ts';
import { NODES, PODS } from '../../runtime/api/kinds.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { print, runningAt } from './watching.ts';

interface Input {
  readonly kubeconfigPath: string;
  readonly image: string;
}

const DNS_ADDRESS = '10.96.0.10';
const TIMEOUT_MS = 60_000;

const input = JSON.parse(process.argv[2] ?? '') as Input;
void main();

async function main(): Promise<void> {
  const options = { subject: 'the cluster', timeoutMs: TIMEOUT_MS, intervalMs: 25 };
  await waitFor(async () => existsSync(input.kubeconfigPath) || undefined, options);
  const client = new ApiClient(await loadClientConfig(input.kubeconfigPath));
  await waitFor(async () => {
    const { items } = await client.list(NODES);
    const isReady = items[0]?.status?.conditions?.some(
      (row) => row.type === 'Ready' && row.status === 'True',
    );
    return isReady || undefined;
  }, options);
  print({ readyAt: Date.now() });
  for await (const _line of createInterface({ input: process.stdin })) break;
  const [podAt, dnsAt] = await Promise.all([firstPod(client), waitFor(() => queryDns(), options)]);
  print({ podAt, dnsAt });
  process.exit(0);
}

async function firstPod(client: ApiClient): Promise<number> {
  return runningAt(client, 'default', 'first', () =>
    waitFor(
      async () =>
        client.create(PODS, {
          metadata: { name: 'first', namespace: 'default' },
          spec: {
            containers: [{ name: 'main', image: input.image, command: ['sleep', '600'] }],
            tolerations: [{ operator: 'Exists' }],
          },
        }),
      { subject: 'a ServiceAccount', timeoutMs: TIMEOUT_MS, intervalMs: 10 },
    ).then(() => {}),
  );
}

/** The time of an answer to a query for the API server's name, undefined when none comes within 100 ms. */
function queryDns(): Promise<number | undefined> {
  const query = encode({
    type: 'query',
    id: 1,
    flags: 256,
    questions: [{ type: 'A', name: 'kubernetes.default.svc.cluster.local' }],
  });
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    const end = (value: number | undefined) => {
      clearTimeout(timer);
      socket.close();
      resolve(value);
    };
    const timer = setTimeout(() => end(undefined), 100);
    socket.on('error', () => {});
    // ANCOUNT, bytes 6 and 7: an answer without a record is not one.
    socket.on('message', (message) => {
      if (message.readUInt16BE(6) > 0) end(Date.now());
    });
    socket.send(query, 53, DNS_ADDRESS);
  });
}
