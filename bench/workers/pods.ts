// Times what a user does with pods through the API, from a process of its own. Reads jobs as JSON lines,
// answers each with one line: milliseconds.

import { request } from 'node:http';
import { createInterface } from 'node:readline';
import { ApiClient } from '../../runtime/api/client.ts';
import { DEPLOYMENTS, PODS, SERVICES } from '../../runtime/api/kinds.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { print, runningAt } from './watching.ts';

/** What one line on standard input asks for. */
type Job =
  | { readonly kind: 'pod'; readonly name: string }
  | { readonly kind: 'deploy'; readonly name: string; readonly replicas: number }
  | { readonly kind: 'delete-deployment'; readonly name: string }
  | { readonly kind: 'service'; readonly name: string };

interface Input {
  readonly kubeconfigPath: string;
  readonly image: string;
}

const NAMESPACE = 'default';
const TIMEOUT_MS = 60_000;
const input = JSON.parse(process.argv[2] ?? '') as Input;

void main();

async function main(): Promise<void> {
  const client = new ApiClient(await loadClientConfig(input.kubeconfigPath));
  for await (const line of createInterface({ input: process.stdin })) {
    print(await perform(client, JSON.parse(line) as Job));
  }
}

function perform(client: ApiClient, job: Job): Promise<number> {
  switch (job.kind) {
    case 'pod':
      return pod(client, job.name);
    case 'deploy':
      return deploy(client, job);
    case 'delete-deployment':
      return deleteDeployment(client, job.name);
    case 'service':
      return service(client, job.name);
  }
}

function container(command: readonly string[]) {
  return { name: 'main', image: input.image, imagePullPolicy: 'IfNotPresent', command: [...command] };
}

/** Create to Running, as a watch sees it. */
async function pod(client: ApiClient, name: string): Promise<number> {
  let createdAt = 0;
  const at = await runningAt(client, NAMESPACE, name, async () => {
    createdAt = Date.now();
    await client.create(PODS, {
      metadata: { name, namespace: NAMESPACE },
      spec: { containers: [container(['sleep', '600'])], terminationGracePeriodSeconds: 0 },
    });
  });
  await client.delete(PODS, { name, namespace: NAMESPACE }, { gracePeriodSeconds: 0 });
  return at - createdAt;
}

/** Create to every replica Ready. */
async function deploy(
  client: ApiClient,
  { name, replicas }: { readonly name: string; readonly replicas: number },
): Promise<number> {
  const startedAt = Date.now();
  await client.create(DEPLOYMENTS, {
    metadata: { name, namespace: NAMESPACE },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: {
          containers: [container(['httpd', '-f', '-p', '8080', '-h', '/www'])],
          terminationGracePeriodSeconds: 0,
        },
      },
    },
  });
  await waitFor(
    async () => {
      const { status } = await client.get(DEPLOYMENTS, { name, namespace: NAMESPACE });
      return status?.readyReplicas === replicas || undefined;
    },
    { subject: `Deployment "${name}"`, timeoutMs: TIMEOUT_MS, intervalMs: 25 },
  );
  return Date.now() - startedAt;
}

/** Delete to the last pod gone. */
async function deleteDeployment(client: ApiClient, name: string): Promise<number> {
  const startedAt = Date.now();
  await client.delete(DEPLOYMENTS, { name, namespace: NAMESPACE }, { propagationPolicy: 'Background' });
  await waitFor(
    async () => {
      const { items } = await client.list(PODS, { namespace: NAMESPACE, labelSelector: `app=${name}` });
      return items.length === 0 || undefined;
    },
    { subject: `the end of Deployment "${name}"`, timeoutMs: TIMEOUT_MS, intervalMs: 25 },
  );
  return Date.now() - startedAt;
}

/** Create of a Service over running pods to the first answer at its cluster IP; the Service is deleted. */
async function service(client: ApiClient, name: string): Promise<number> {
  const startedAt = Date.now();
  const serviceName = `${name}-${startedAt}`;
  const created = await client.create(SERVICES, {
    metadata: { name: serviceName, namespace: NAMESPACE },
    spec: { selector: { app: name }, ports: [{ port: 80, targetPort: 8080 }] },
  });
  const address = created.spec?.clusterIP ?? '';
  await waitFor(async () => (await answers(address)) || undefined, {
    subject: `the Service at ${address}`,
    timeoutMs: TIMEOUT_MS,
    intervalMs: 5,
  });
  const ms = Date.now() - startedAt;
  await client.delete(SERVICES, { name: serviceName, namespace: NAMESPACE });
  return ms;
}

/** Any HTTP answer counts. Without a rule the address leads nowhere, hence the short patience. */
function answers(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const call = request({ host: address, port: 80, agent: false, timeout: 50 }, (response) => {
      response.resume();
      resolve(true);
    });
    call.on('timeout', () => call.destroy());
    call.on('error', () => resolve(false));
    call.end();
  });
}
