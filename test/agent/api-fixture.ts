import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import type { Test } from 'tap';
import type { ApiClient } from '../../runtime/api/client.ts';
import { CONFIG_MAPS, PODS, SERVICE_ACCOUNTS } from '../../runtime/api/kinds.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { startTestServer, type TestServer } from '../runtime/controlplane/apiserver/test-server.ts';
import { type AgentFixture, openAgentFixture } from './fixture.ts';

/** execFile(3) as a promise. */
export const run = promisify(execFile);
export const NODE = 'node-a';

/** A pod for this node that needs no network of its own. */
export function buildPod(name: string, spec: Partial<core.PodSpec> & { command?: string[] } = {}): core.Pod {
  const { command = ['sleep', '1000'], ...rest } = spec;
  return {
    metadata: { name, namespace: 'default', labels: { app: name } },
    spec: {
      nodeName: NODE,
      hostNetwork: true,
      terminationGracePeriodSeconds: 1,
      containers: [{ name: 'main', image: 'busybox', imagePullPolicy: 'IfNotPresent', command }],
      ...rest,
    },
  };
}

function kubeletConfig(server: TestServer): string {
  return `authentication: {x509: {clientCAFile: ${server.directory}/ca.crt}, webhook: {enabled: true}}
authorization: {mode: Webhook}
`;
}

function writeKubeconfig(server: TestServer): string {
  const file = join(server.directory, 'kubelet.conf');
  const user = {
    'client-certificate': `${server.directory}/node-a.crt`,
    'client-key': `${server.directory}/node-a.key`,
  };
  const cluster = {
    server: `https://127.0.0.1:${server.port}`,
    'certificate-authority': `${server.directory}/ca.crt`,
  };
  writeFileSync(
    file,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'x',
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    }),
  );
  return file;
}

/** The pod as soon as it is like that. */
export async function podWhere(
  client: ApiClient,
  name: string,
  predicate: (pod: core.Pod) => boolean,
  timeoutMs = 30_000,
): Promise<core.Pod> {
  let last: core.Pod | undefined;
  try {
    return await waitFor(
      async () => {
        last = await client.get(PODS, { name, namespace: 'default' });
        return predicate(last) ? last : undefined;
      },
      { subject: `pod "${name}"`, timeoutMs, intervalMs: 20 },
    );
  } catch (error) {
    throw new Error(`${(error as Error).message}: ${JSON.stringify(last?.status)}`);
  }
}

export interface ApiFixture {
  readonly server: TestServer;
  /** As cluster administrator. */
  readonly client: ApiClient;
  readonly kubectl: (...args: string[]) => Promise<string>;
  readonly fixture: AgentFixture;
}

/** An agent and an API server, without controllers; all ends with the test. */
export async function openApiFixture(t: Test): Promise<ApiFixture> {
  const server = await startTestServer(t);
  const client = await server.client('admin');
  const kubectl = async (...args: string[]) =>
    (await run('kubectl', ['--kubeconfig', server.kubeconfig, ...args], { timeout: 20_000 })).stdout;
  for (const namespace of ['default', 'kube-system']) {
    await client.create(SERVICE_ACCOUNTS, { metadata: { name: 'default', namespace } });
    await client.create(CONFIG_MAPS, {
      metadata: { name: 'kube-root-ca.crt', namespace },
      data: { 'ca.crt': 'CA' },
    });
  }
  const fixture = await openAgentFixture({
    nodeName: NODE,
    config: kubeletConfig(server),
    flags: () => [`--kubeconfig=${writeKubeconfig(server)}`, '--node-labels=zone=a'],
  });
  t.teardown(() => fixture.close());
  return { server, client, kubectl, fixture };
}
