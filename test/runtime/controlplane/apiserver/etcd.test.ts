import type { Endpoints, Service } from 'kubernetes-types/core/v1.d.ts';
import type { EndpointSlice } from 'kubernetes-types/discovery/v1.d.ts';
import t, { type Test } from 'tap';
import { isApiError } from '../../../../runtime/api/api-error.ts';
import {
  CONFIG_MAPS,
  ENDPOINT_SLICES,
  ENDPOINTS,
  NAMESPACES,
  RESOURCE_QUOTAS,
  SERVICES,
} from '../../../../runtime/api/kinds.ts';
import { waitFor } from '../../../../runtime/base/time.ts';
import { EtcdClient } from '../../../../runtime/controlplane/store/etcd-client.ts';
import { etcdObstacle, startEtcd, type TestEtcd } from '../../../hosts/etcd.ts';
import { startTestServer } from './test-server.ts';

const namespace = 'default';
const KUBERNETES = { name: 'kubernetes', namespace };

function flagsOf(etcd: TestEtcd, address: string): readonly string[] {
  const { caFile, certFile, keyFile } = etcd.client;
  return [
    `--etcd-servers=${etcd.endpoints.join(',')}`,
    `--etcd-cafile=${caFile}`,
    `--etcd-certfile=${certFile}`,
    `--etcd-keyfile=${keyFile}`,
    `--advertise-address=${address}`,
  ];
}

async function startPair(t: Test) {
  const etcd = await startEtcd();
  t.teardown(() => etcd.close());
  const one = await startTestServer(t, flagsOf(etcd, '127.0.0.1'));
  const other = await startTestServer(t, flagsOf(etcd, '127.0.0.2'));
  return { etcd, one, other, clients: [await one.client('admin'), await other.client('admin')] as const };
}

t.test('two API servers over one etcd', { skip: etcdObstacle }, async (t) => {
  const { etcd, one, other, clients } = await startPair(t);
  const [a, b] = clients;

  await t.test('what one has acknowledged, the other answers', async (t) => {
    for (let i = 0; i < 30; i += 1) {
      const [writer, reader] = i % 2 === 0 ? [a, b] : [b, a];
      const name = `shared-${i}`;
      const created = await writer.create(CONFIG_MAPS, { metadata: { name, namespace }, data: { n: '1' } });
      const read = await reader.get(CONFIG_MAPS, { name, namespace });
      t.equal(read.metadata?.resourceVersion, created.metadata?.resourceVersion);
      const updated = await reader.update(CONFIG_MAPS, { ...read, data: { n: '2' } });
      const { items } = await writer.list(CONFIG_MAPS, { namespace });
      t.equal(items.find((item) => item.metadata?.name === name)?.data?.['n'], '2');
      const stale = writer.update(CONFIG_MAPS, { ...read, data: { n: '3' } });
      await stale.then(
        () => t.fail('an old version was accepted'),
        (error) => t.ok(isApiError(error, 'Conflict')),
      );
      await writer.update(CONFIG_MAPS, { ...updated, data: { n: '4' } });
      await reader.delete(CONFIG_MAPS, { name, namespace });
      t.equal(await writer.find(CONFIG_MAPS, { name, namespace }), undefined);
    }
  });

  await t.test('patches of one object by both are all applied', async (t) => {
    const ref = { name: 'patched', namespace };
    await a.create(CONFIG_MAPS, { metadata: ref, data: {} });
    await Promise.all(
      Array.from({ length: 20 }, (_, i) => {
        const client = i % 2 === 0 ? a : b;
        return client.patch(CONFIG_MAPS, ref, { type: 'merge', body: { data: { [`k${i}`]: String(i) } } });
      }),
    );
    const { data } = await b.get(CONFIG_MAPS, ref);
    t.equal(Object.keys(data ?? {}).length, 20);
  });

  await t.test('a watch of one sees what the other writes', async (t) => {
    const end = new AbortController();
    t.teardown(() => end.abort());
    const { metadata } = await b.list(CONFIG_MAPS, { namespace });
    const watch = b.watch(CONFIG_MAPS, {
      namespace,
      resourceVersion: metadata?.resourceVersion ?? '',
      signal: end.signal,
    });
    await a.create(CONFIG_MAPS, { metadata: { name: 'watched', namespace } });
    for await (const event of watch) {
      if (event.type !== 'ADDED') continue;
      t.equal(event.object.metadata?.name, 'watched');
      break;
    }
  });

  await t.test('Services that both create at once get addresses and node ports of their own', async (t) => {
    const create = (i: number) =>
      (i % 2 === 0 ? a : b).create(SERVICES, {
        metadata: { name: `svc-${i}`, namespace },
        spec: { type: 'NodePort', ports: [{ port: 80 }] },
      });
    const services: readonly Service[] = await Promise.all(Array.from({ length: 40 }, (_, i) => create(i)));
    t.equal(new Set(services.map((service) => service.spec?.clusterIP)).size, 40);
    t.equal(new Set(services.map((service) => service.spec?.ports?.[0]?.nodePort)).size, 40);
  });

  await t.test('of one address that both are asked for one Service gets it', async (t) => {
    for (let i = 0; i < 10; i += 1) {
      const clusterIP = `10.96.200.${i + 1}`;
      const results = await Promise.allSettled(
        [a, b].map((client, at) =>
          client.create(SERVICES, {
            metadata: { name: `same-${i}-${at}`, namespace },
            spec: { clusterIP, ports: [{ port: 80 }] },
          }),
        ),
      );
      const refusals = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
      t.equal(refusals.length, 1);
      t.ok(isApiError(refusals[0], 'Invalid'), String(refusals[0]));
    }
  });

  await t.test('both together keep a quota', async (t) => {
    const quota = { metadata: { name: 'few', namespace: 'quota' }, spec: { hard: { configmaps: '7' } } };
    await a.create(NAMESPACES, { metadata: { name: 'quota' } });
    await a.create(RESOURCE_QUOTAS, quota);
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, (_, i) =>
        (i % 2 === 0 ? a : b).create(CONFIG_MAPS, { metadata: { name: `q${i}`, namespace: 'quota' } }),
      ),
    );
    const refusals = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    t.equal(refusals.length, 13);
    t.ok(
      refusals.every((error) => isApiError(error, 'Forbidden')),
      String(refusals[0]),
    );
    t.equal((await b.list(CONFIG_MAPS, { namespace: 'quota' })).items.length, 7);
  });

  await t.test('keys and values are those that kube-apiserver reads', async (t) => {
    await a.create(CONFIG_MAPS, { metadata: { name: 'stored', namespace }, data: { a: 'b' } });
    const client = new EtcdClient({
      endpoints: etcd.endpoints,
      credentials: etcd.client,
      attemptTimeoutMs: 5000,
    });
    t.teardown(() => client.close());
    const { response } = await client.call('range', {
      key: Buffer.from('/registry/configmaps/default/stored'),
    });
    const value = JSON.parse(Buffer.from(response.kvs[0]!.value).toString());
    t.match(value, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'stored' }, data: { a: 'b' } });
    t.notOk('resourceVersion' in value.metadata);
  });

  await t.test('Service kubernetes leads to the servers that are there', async (t) => {
    const addresses = async () => {
      const endpoints: Endpoints = await b.get(ENDPOINTS, KUBERNETES);
      const slice: EndpointSlice = await b.get(ENDPOINT_SLICES, KUBERNETES);
      const listed = endpoints.subsets?.[0]?.addresses?.map((row) => row.ip) ?? [];
      t.same(slice.endpoints.flatMap((row) => row.addresses).sort(), listed.sort());
      return listed.join();
    };
    const become = (expected: string) =>
      waitFor(async () => ((await addresses()) === expected ? true : undefined), {
        subject: `endpoints ${expected}`,
        timeoutMs: 60_000,
        intervalMs: 300,
      });
    await become('127.0.0.1,127.0.0.2');
    await one.stop();
    t.equal(await addresses(), '127.0.0.2', 'a server that is stopped takes itself back');
    await one.start();
    await become('127.0.0.1,127.0.0.2');
    await one.stop('SIGKILL');
    await become('127.0.0.2');
    await one.start();
  });

  await t.test('while etcd is away requests fail and /readyz says so; afterwards all goes on', async (t) => {
    const [member] = etcd.members;
    await member!.kill();
    await t.rejects(a.create(CONFIG_MAPS, { metadata: { name: 'lost', namespace } }));
    await waitFor(async () => ((await isReady(b)) ? undefined : true), {
      subject: 'not ready',
      timeoutMs: 60_000,
    });
    await member!.start();
    await waitFor(async () => ((await isReady(b)) ? true : undefined), {
      subject: 'ready',
      timeoutMs: 60_000,
    });
    await a.create(CONFIG_MAPS, { metadata: { name: 'found', namespace } });
    t.ok(await b.find(CONFIG_MAPS, { name: 'found', namespace }));
  });
  await t.test('renewed certificates of etcd are taken while the servers run', async (t) => {
    const pids = [one.pid, other.pid];
    await etcd.members[0]!.kill();
    await etcd.renew();
    await etcd.members[0]!.start();
    for (const client of clients) {
      const found = await waitFor(() => client.find(CONFIG_MAPS, { name: 'found', namespace }), {
        subject: 'an answer',
        timeoutMs: 60_000,
      });
      t.ok(found);
    }
    for (const pid of pids) t.ok(process.kill(pid, 0), 'the same process');
  });
  await Promise.all([one.stop(), other.stop()]);
});

type Client = Awaited<ReturnType<Awaited<ReturnType<typeof startTestServer>>['client']>>;

function isReady(client: Client): Promise<boolean> {
  return client.requestText('GET', '/readyz').then(
    () => true,
    () => false,
  );
}
