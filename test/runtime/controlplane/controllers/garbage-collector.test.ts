import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { ApiClient } from '../../../../runtime/api/client.ts';
import {
  DEPLOYMENTS,
  JOBS,
  type Kind,
  type KubeObject,
  PODS,
  REPLICA_SETS,
  REPLICATION_CONTROLLERS,
} from '../../../../runtime/api/kinds.ts';
import { sleep, waitFor } from '../../../../runtime/base/time.ts';
import { startTestServer, type TestServer } from '../apiserver/test-server.ts';

const MAIN = join(import.meta.dirname, '../../../../runtime/controlplane/controllers/main.ts');
const FINALIZER = 'example.com/hold';
const METADATA = { name: 'web', namespace: 'default' };
const TEMPLATE = {
  metadata: { labels: { app: 'web' } },
  spec: { containers: [{ name: 'c', image: 'i' }] },
};
const JOB_TEMPLATE = { spec: { ...TEMPLATE.spec, restartPolicy: 'Never' } };

interface OwnerCase {
  readonly kind: Kind<KubeObject>;
  readonly spec: object;
}
/** Kinds that orphan their pods by default. */
const ORPHANING: readonly OwnerCase[] = [
  { kind: JOBS, spec: { template: JOB_TEMPLATE } },
  { kind: REPLICATION_CONTROLLERS, spec: { replicas: 1, template: TEMPLATE } },
];

t.test('the garbage collector in a cluster', async (t) => {
  const server = await startTestServer(t);
  await startControllers(t, server);
  const client = await server.client('admin');

  t.test('foreground deletion ends with the last dependent', async (t) => {
    await client.create(DEPLOYMENTS, {
      metadata: METADATA,
      spec: { replicas: 2, selector: { matchLabels: { app: 'web' } }, template: TEMPLATE },
    });
    const pods = await firstPods(client, 2);
    await client.patch(PODS, refOf(pods[0]!), {
      type: 'merge',
      body: { metadata: { finalizers: [FINALIZER] } },
    });
    await client.delete(DEPLOYMENTS, METADATA, { propagationPolicy: 'Foreground' });
    await eventually('one pod left', async () => (await list(client, PODS)).length === 1);
    await sleep(500);
    const [deployments, sets] = [await list(client, DEPLOYMENTS), await list(client, REPLICA_SETS)];
    t.same(
      [...deployments, ...sets].map(({ metadata }) => metadata?.finalizers),
      [['foregroundDeletion'], ['foregroundDeletion']],
      'Deployment and ReplicaSet wait for the pod that is held',
    );
    const order: string[] = [];
    const gone = [DEPLOYMENTS, REPLICA_SETS, PODS].map(async (kind) => {
      await eventually(`no ${kind.plural}`, async () => (await list(client, kind)).length === 0, 5);
      order.push(kind.plural);
    });
    await client.patch(PODS, refOf(pods[0]!), { type: 'merge', body: { metadata: { finalizers: [] } } });
    await Promise.all(gone);
    t.same(order.at(-1), 'deployments');
  });

  for (const { kind, spec } of ORPHANING) {
    t.test(`${kind.plural} that are deleted without a policy leave their pods`, async (t) => {
      const owner = { metadata: METADATA, spec };
      await client.create(kind, owner);
      const [pod] = await firstPods(client, 1);
      await client.delete(kind, METADATA);
      await eventually(`no ${kind.plural}`, async () => (await list(client, kind)).length === 0);
      await sleep(300);
      const left = await list(client, PODS);
      t.match(left, [{ metadata: { name: pod!.metadata?.name } }]);
      t.same(left[0]!.metadata?.ownerReferences ?? [], []);
      await client.patch(PODS, refOf(pod!), { type: 'merge', body: { metadata: { finalizers: [] } } });
      await client.delete(PODS, refOf(pod!));
      await eventually('no pods', async () => (await list(client, PODS)).length === 0);
    });
  }
});

async function startControllers(t: Test, server: TestServer): Promise<void> {
  const flags = [`--kubeconfig=${server.kubeconfig}`, '--leader-elect=false', '--secure-port=0'];
  const child = spawn(process.execPath, ['--import=tsx', MAIN, ...flags], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  t.teardown(async () => {
    if (child.exitCode !== null) return;
    const gone = once(child, 'exit');
    child.kill('SIGTERM');
    await gone;
  });
}

async function list(client: ApiClient, kind: Kind<KubeObject>): Promise<readonly KubeObject[]> {
  return (await client.list(kind, { namespace: 'default' })).items;
}

async function firstPods(client: ApiClient, count: number): Promise<readonly KubeObject[]> {
  await eventually(`${count} pods`, async () => (await list(client, PODS)).length === count);
  return list(client, PODS);
}

function refOf({ metadata }: KubeObject) {
  return { name: metadata?.name ?? '', namespace: metadata?.namespace };
}

async function eventually(subject: string, isTrue: () => Promise<boolean>, intervalMs = 50): Promise<void> {
  await waitFor(async () => ((await isTrue()) ? true : undefined), {
    subject,
    timeoutMs: 15_000,
    intervalMs,
  });
}
