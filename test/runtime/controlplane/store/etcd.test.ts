import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { TkadmError } from '../../../../runtime/base/errors.ts';
import { SILENT_LOGGER } from '../../../../runtime/base/log.ts';
import { waitFor } from '../../../../runtime/base/time.ts';
import { EtcdStore, type EtcdStoreOptions } from '../../../../runtime/controlplane/store/etcd.ts';
import { EtcdClient } from '../../../../runtime/controlplane/store/etcd-client.ts';
import { takeTurn } from '../../../../runtime/controlplane/store/etcd-compactor.ts';
import type { StoreEvent } from '../../../../runtime/controlplane/store/types.ts';
import { etcdObstacle, startEtcd, type TestEtcd } from '../../../hosts/etcd.ts';
import { testStoreContract } from './store-contract.ts';

/** Forwards TCP; when told to, it cuts all connections instead of passing on what etcd says next. */
async function startLossyRelay(t: Test, to: number) {
  let isLosing = false;
  let lost = 0;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(to, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    upstream.on('data', (chunk) => {
      if (!isLosing) return void client.write(chunk);
      isLosing = false;
      lost += 1;
      for (const socket of sockets) socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    lost: () => lost,
    loseNextAnswer: () => {
      isLosing = true;
    },
  };
}

let prefixes = 0;

/** A store over a prefix that nobody has used, or another server of the same. */
async function openStore(
  t: Test,
  etcd: TestEtcd,
  options: Partial<EtcdStoreOptions> = {},
): Promise<EtcdStore> {
  prefixes += 1;
  const store = await EtcdStore.open({
    endpoints: etcd.endpoints,
    credentials: etcd.client,
    prefix: `/cluster-${prefixes}`,
    logger: SILENT_LOGGER,
    compactionIntervalMs: 0,
    onLost: (error) => t.fail(error.message),
    ...options,
  });
  t.teardown(() => store.close());
  return store;
}

t.test('EtcdStore', { skip: etcdObstacle }, async (t) => {
  const etcd = await startEtcd();
  t.teardown(() => etcd.close());

  await t.test('contract', async (t) => {
    testStoreContract(t, (t) => openStore(t, etcd));
  });

  await t.test('keys are those of Kubernetes below the prefix', async (t) => {
    const prefix = '/registry';
    const store = await openStore(t, etcd, { prefix });
    await store.put('/registry/pods/default/a', Buffer.from('{}'), 0);
    const client = new EtcdClient({
      endpoints: etcd.endpoints,
      credentials: etcd.client,
      attemptTimeoutMs: 5000,
    });
    t.teardown(() => client.close());
    const { response } = await client.call('range', { key: Buffer.from('/registry/pods/default/a') });
    t.equal(Buffer.from(response.kvs[0]!.value).toString(), '{}');
  });

  await t.test('confirm() waits for what another server wrote', async (t) => {
    const prefix = '/two-servers';
    const [one, other] = [await openStore(t, etcd, { prefix }), await openStore(t, etcd, { prefix })];
    let seen = '';
    other.watch('/registry/', other.stats().revision, (events) => {
      seen = events.at(-1)?.value?.toString() ?? '';
    });
    for (let i = 0; i < 50; i += 1) {
      await one.put(`/registry/k${i}`, Buffer.from(String(i)), 0);
      await other.confirm();
      t.equal(seen, String(i));
    }
  });

  await t.test('confirm() is not held up by changes of other prefixes', async (t) => {
    const [store, foreign] = [await openStore(t, etcd), await openStore(t, etcd)];
    const events: StoreEvent[] = [];
    store.watch('/registry/', store.stats().revision, (batch) => events.push(...batch));
    await foreign.put('/registry/a', Buffer.from('1'), 0);
    await store.confirm();
    t.ok(events.at(-1)!.revision > foreign.stats().revision, 'a mark of its own was written and seen');
    t.notOk(events.some((event) => event.key === '/registry/a'));
  });

  await t.test('putIfQuiet() refuses when the range has changed', async (t) => {
    const store = await openStore(t, etcd);
    const first = await store.put('/registry/s/a', Buffer.from('1'), 0);
    const revision = first.isCommitted ? first.revision : 0;
    const quiet = { prefix: '/registry/s/', revision };
    t.ok((await store.putIfQuiet('/registry/s/b', Buffer.from('1'), 0, quiet)).isCommitted);
    const late = await store.putIfQuiet('/registry/s/c', Buffer.from('1'), 0, quiet);
    t.same(late, { isCommitted: false, current: undefined });
    t.ok(
      (await store.putIfQuiet('/registry/x', Buffer.from('1'), 0, { ...quiet, prefix: '/registry/t/' }))
        .isCommitted,
    );
  });

  await t.test('putTemporary() goes away unless it is repeated', async (t) => {
    const store = await openStore(t, etcd);
    await store.putTemporary('/registry/m/a', Buffer.from('1'), 1);
    t.ok(await store.get('/registry/m/a'));
    await waitFor(async () => ((await store.get('/registry/m/a')) ? undefined : true), {
      subject: 'the end of the lease',
      timeoutMs: 20_000,
    });
  });

  await t.test('a watch whose next changes were compacted away says so', async (t) => {
    const lost: string[] = [];
    const prefix = '/compacted';
    const one = await openStore(t, etcd, { prefix });
    const other = await openStore(t, etcd, { prefix, onLost: (error) => lost.push(error.code) });
    const { revision } = other.stats();
    await one.put('/registry/a', Buffer.from('1'), 0);
    await one.put('/registry/b', Buffer.from('1'), 0);
    await one.compact(one.stats().revision);
    other.watch('/registry/', revision, () => {});
    await waitFor(async () => lost[0], { subject: 'the loss', timeoutMs: 10_000 });
    t.same(lost, ['STORE_COMPACTED']);
  });

  await t.test('takeTurn() compacts once for all servers, to where the turn before ended', async (t) => {
    const store = await openStore(t, etcd);
    const client = new EtcdClient({
      endpoints: etcd.endpoints,
      credentials: etcd.client,
      attemptTimeoutMs: 5000,
    });
    t.teardown(() => client.close());
    const none = { time: 0, revision: 0 };
    const first = await takeTurn(client, none);
    const other = await takeTurn(client, none);
    t.match(first, { time: 1 });
    t.match(other, { time: 1 }, 'the second server takes note');
    const put = await store.put('/registry/a', Buffer.from('1'), 0);
    const second = await takeTurn(client, first);
    t.match(second, { time: 2 });
    t.match(await takeTurn(client, other), { time: 2 });
    await takeTurn(client, second);
    const { revision } = put as { readonly revision: number };
    await t.rejects(store.range('/registry/', { revision }), { code: 'STORE_COMPACTED' });
    t.equal((await store.range('/registry/', { revision: second.revision })).values.length, 1);
  });

  await t.test("objects in kube-apiserver's binary form are refused by name", async (t) => {
    const prefix = '/binary';
    const lost: TkadmError[] = [];
    const store = await openStore(t, etcd, { prefix, onLost: (error) => lost.push(error) });
    store.watch('/registry/', store.stats().revision, () => {});
    const client = new EtcdClient({
      endpoints: etcd.endpoints,
      credentials: etcd.client,
      attemptTimeoutMs: 5000,
    });
    t.teardown(() => client.close());
    await client.call('put', {
      key: Buffer.from(`${prefix}/pods/a`),
      value: Buffer.from('k8s\0\n\0', 'latin1'),
    });
    const refusal = { code: 'UNSUPPORTED', message: /"\/registry\/pods\/a"/ };
    await t.rejects(store.range('/registry/'), refusal);
    await waitFor(async () => lost[0], { subject: 'the refusal', timeoutMs: 10_000 });
    t.match(lost, [refusal]);
  });

  await t.test('a write whose answer is lost is not refused when it is tried again', async (t) => {
    const prefix = '/lost-answers';
    const relay = await startLossyRelay(t, Number(new URL(etcd.endpoints[0]!).port));
    const endpoint = `https://127.0.0.1:${relay.port}`;
    const store = await openStore(t, etcd, { prefix, endpoints: [endpoint] });
    const direct = await openStore(t, etcd, { prefix });
    store.watch('/registry/', store.stats().revision, () => {});
    const lose = async <T>(write: () => Promise<T>): Promise<T> => {
      await store.confirm();
      relay.loseNextAnswer();
      return write();
    };
    const created = await lose(() => store.put('/registry/a', Buffer.from('1'), 0));
    t.ok(created.isCommitted);
    const stored = await direct.get('/registry/a');
    t.equal(created.isCommitted && created.revision, stored?.modRevision);
    const deleted = await lose(() => store.delete('/registry/a', stored!.modRevision));
    t.ok(deleted.isCommitted);
    t.equal(await direct.get('/registry/a'), undefined);
    t.equal(relay.lost(), 2, 'two answers were lost');
  });

  await t.test('a client without a certificate of the CA is not let in', async (t) => {
    await t.rejects(
      EtcdStore.open({
        endpoints: etcd.endpoints,
        credentials: { ...etcd.client, cert: undefined, key: undefined },
        openTimeoutMs: 500,
        prefix: '/registry',
        logger: SILENT_LOGGER,
        compactionIntervalMs: 0,
        onLost: () => {},
      }),
      { code: 'STORE_FAILED' },
    );
  });

  await t.test('a member that is killed and comes back is no loss', async (t) => {
    const store = await openStore(t, etcd);
    const seen: string[] = [];
    store.watch('/registry/', store.stats().revision, (events) => {
      for (const event of events) if (event.key !== '/registry/tkadm.io/mark') seen.push(event.key);
    });
    await store.put('/registry/a', Buffer.from('1'), 0);
    await etcd.members[0]!.kill();
    await t.rejects(store.put('/registry/b', Buffer.from('1'), 0), { code: 'STORE_FAILED' });
    await etcd.members[0]!.start();
    const written = await waitFor(() => store.put('/registry/c', Buffer.from('1'), 0), {
      subject: 'etcd again',
      timeoutMs: 20_000,
    });
    t.ok(written.isCommitted);
    t.same(seen, ['/registry/a', '/registry/c']);
  });
});

t.test('EtcdStore with three members', { skip: etcdObstacle }, async (t) => {
  const etcd = await startEtcd({ members: 3 });
  t.teardown(() => etcd.close());

  await t.test('any one may be killed under writes: none is lost, none is told twice', async (t) => {
    const store = await openStore(t, etcd);
    const told: string[] = [];
    store.watch('/registry/', store.stats().revision, (events) => {
      for (const event of events) if (event.key !== '/registry/tkadm.io/mark') told.push(event.key);
    });
    const written: string[] = [];
    for (const [round, member] of etcd.members.entries()) {
      for (let i = 0; i < 10; i += 1) {
        if (i === 3) await member.kill();
        const key = `/registry/${round}-${i}`;
        const result = await store.put(key, Buffer.from(key), 0);
        t.ok(result.isCommitted, key);
        written.push(key);
      }
      await member.start();
    }
    t.same(told, written);
    t.equal((await store.range('/registry/')).values.length >= written.length, true);
  });
});
