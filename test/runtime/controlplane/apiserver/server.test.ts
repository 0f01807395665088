import t from 'tap';
import type { ApiClient } from '../../../../runtime/api/client.ts';
import {
  CONFIG_MAPS,
  NAMESPACES,
  NODES,
  PODS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from '../../../../runtime/api/kinds.ts';
import type { WatchEvent } from '../../../../runtime/api/requests.ts';
import { refused, startTestServer } from './test-server.ts';

const CONFIG_MAP_PATH = '/api/v1/namespaces/default/configmaps';

t.test('API server', async (t) => {
  const server = await startTestServer(t);
  const client = await server.client('admin');
  const configMap = (name: string, data: Record<string, string> = {}, labels: Record<string, string> = {}) =>
    client.create(CONFIG_MAPS, { metadata: { name, namespace: 'default', labels }, data });
  await client.create(SERVICE_ACCOUNTS, { metadata: { name: 'default', namespace: 'default' } });

  t.test('its own objects are there', async (t) => {
    for (const name of ['default', 'kube-system', 'kube-public', 'kube-node-lease']) {
      t.equal((await client.get(NAMESPACES, { name })).status?.phase, 'Active');
    }
    const service = await client.get(SERVICES, { name: 'kubernetes', namespace: 'default' });
    t.equal(service.spec?.clusterIP, '10.96.0.1');
  });

  t.test('create answers the stored object, and refuses a second one', async (t) => {
    const created = await configMap('twice', { a: 'b' });
    t.match(created.metadata, { name: 'twice', uid: /^[0-9a-f-]{36}$/, resourceVersion: /^\d+$/ });
    const error = await refused(t, configMap('twice'));
    t.match(error, {
      httpStatus: 409,
      status: { reason: 'AlreadyExists', message: 'configmaps "twice" already exists' },
    });
  });

  t.test('generateName makes names of its own', async (t) => {
    const make = () =>
      client.create(CONFIG_MAPS, { metadata: { generateName: 'gen-', namespace: 'default' } });
    const [one, two] = await Promise.all([make(), make()]);
    t.match(one.metadata?.name, /^gen-[a-z0-9]{5}$/);
    t.not(one.metadata?.name, two.metadata?.name);
  });

  t.test('update needs the newest resourceVersion, or none', async (t) => {
    const first = await configMap('locked', { n: '1' });
    const second = await client.update(CONFIG_MAPS, { ...first, data: { n: '2' } });
    t.ok(Number(second.metadata?.resourceVersion) > Number(first.metadata?.resourceVersion));
    const error = await refused(t, client.update(CONFIG_MAPS, { ...first, data: { n: '3' } }));
    t.match(error, {
      httpStatus: 409,
      status: {
        message: /^Operation cannot be fulfilled on configmaps "locked": the object has been modified/,
      },
    });
    const { resourceVersion: _, ...metadata } = first.metadata ?? {};
    const third = await client.update(CONFIG_MAPS, { ...first, metadata, data: { n: '4' } });
    t.same(third.data, { n: '4' });
  });

  t.test('a write that changes nothing makes no revision', async (t) => {
    const first = await configMap('same', { a: '1', b: '2' });
    const second = await client.update(CONFIG_MAPS, {
      data: { b: '2', a: '1' },
      metadata: first.metadata ?? {},
    });
    t.equal(second.metadata?.resourceVersion, first.metadata?.resourceVersion);
  });

  t.test('patches at once are all applied', async (t) => {
    await configMap('patched');
    const ref = { name: 'patched', namespace: 'default' };
    await Promise.all(
      Array.from({ length: 12 }, (_, i) =>
        client.patch(CONFIG_MAPS, ref, { type: 'merge', body: { data: { [`k${i}`]: 'v' } } }),
      ),
    );
    const found = await client.get(CONFIG_MAPS, ref);
    t.equal(Object.keys(found.data ?? {}).length, 12);
  });

  t.test('list pages at one revision', async (t) => {
    await client.create(NAMESPACES, { metadata: { name: 'pages' } });
    for (let i = 0; i < 7; i += 1) {
      await client.create(CONFIG_MAPS, { metadata: { name: `c${i}`, namespace: 'pages' } });
    }
    const first = await client.list(CONFIG_MAPS, { namespace: 'pages', limit: 3 });
    t.match(first.metadata, { remainingItemCount: 4, continue: /./ });
    await client.delete(CONFIG_MAPS, { name: 'c5', namespace: 'pages' });
    await client.create(CONFIG_MAPS, { metadata: { name: 'c3a', namespace: 'pages' } });
    const token = first.metadata.continue;
    const rest = await client.list(CONFIG_MAPS, { namespace: 'pages', continue: token, limit: 10 });
    t.same(
      rest.items.map((item) => item.metadata?.name),
      ['c3', 'c4', 'c5', 'c6'],
    );
    t.equal(rest.metadata.resourceVersion, first.metadata.resourceVersion);
    t.equal(rest.metadata.continue, undefined);
  });

  t.test('resourceVersion of a list is checked', async (t) => {
    const newest = Number((await client.list(CONFIG_MAPS)).metadata.resourceVersion);
    const get = (query: string) => refused(t, client.requestJson('GET', `${CONFIG_MAP_PATH}?${query}`));
    t.match(await get('resourceVersionMatch=Exact'), { httpStatus: 422 });
    t.match(await get(`resourceVersion=${newest + 1000}`), {
      httpStatus: 504,
      status: { reason: 'Timeout', details: { causes: [{ reason: 'ResourceVersionTooLarge' }] } },
    });
    t.match(await get('continue=garbage'), { httpStatus: 400 });
  });

  t.test('watch tells changes from a revision on', async (t) => {
    const { metadata } = await client.list(CONFIG_MAPS, { namespace: 'default' });
    const events = watchEvents(client, { resourceVersion: metadata.resourceVersion });
    await configMap('watched', { n: '1' });
    await client.patch(
      CONFIG_MAPS,
      { name: 'watched', namespace: 'default' },
      { type: 'merge', body: { data: { n: '2' } } },
    );
    await client.delete(CONFIG_MAPS, { name: 'watched', namespace: 'default' });
    const seen = await events(3);
    t.same(
      seen.map((event) => event.type),
      ['ADDED', 'MODIFIED', 'DELETED'],
    );
    const revisions = seen.map((event) =>
      Number((event.object as { metadata: { resourceVersion: string } }).metadata.resourceVersion),
    );
    t.same(
      revisions,
      [...revisions].sort((a, b) => a - b),
    );
    t.equal(new Set(revisions).size, 3, 'DELETED has the revision of the deletion');
  });

  t.test('an object that leaves the selector is DELETED, one that enters ADDED', async (t) => {
    const { metadata } = await client.list(CONFIG_MAPS, { namespace: 'default' });
    const events = watchEvents(client, {
      resourceVersion: metadata.resourceVersion,
      labelSelector: 'on=yes',
    });
    const ref = { name: 'selected', namespace: 'default' };
    const label = (on: string) =>
      client.patch(CONFIG_MAPS, ref, { type: 'merge', body: { metadata: { labels: { on } } } });
    await configMap('selected', {}, { on: 'no' });
    await label('yes');
    await label('no');
    const seen = await events(2);
    t.same(
      seen.map((event) => [
        event.type,
        (event.object as { metadata: { labels: { on: string } } }).metadata.labels.on,
      ]),
      [
        ['ADDED', 'yes'],
        ['DELETED', 'yes'],
      ],
    );
  });

  t.test('WatchList sends the present state and marks its end', async (t) => {
    const { items } = await client.list(CONFIG_MAPS, { namespace: 'default' });
    const events = watchEvents(client, { sendInitialEvents: true, allowBookmarks: true });
    const seen = await events(items.length + 1);
    t.ok(seen.slice(0, -1).every((event) => event.type === 'ADDED'));
    t.match(seen.at(-1), {
      type: 'BOOKMARK',
      object: {
        metadata: { annotations: { 'k8s.io/initial-events-end': 'true' }, resourceVersion: /^\d+$/ },
      },
    });
  });

  t.test('finalizers hold an object until the last is taken away', async (t) => {
    const ref = { name: 'held', namespace: 'default' };
    await client.create(CONFIG_MAPS, { metadata: { ...ref, finalizers: ['example.org/hold'] } });
    await client.delete(CONFIG_MAPS, ref);
    t.match((await client.get(CONFIG_MAPS, ref)).metadata, {
      deletionTimestamp: /Z$/,
      finalizers: ['example.org/hold'],
    });
    await client.patch(CONFIG_MAPS, ref, { type: 'merge', body: { metadata: { finalizers: null } } });
    t.equal(await client.find(CONFIG_MAPS, ref), undefined);
  });

  t.test('delete heeds preconditions', async (t) => {
    await configMap('kept');
    const ref = { name: 'kept', namespace: 'default' };
    const error = await refused(t, client.delete(CONFIG_MAPS, ref, { preconditions: { uid: 'another' } }));
    t.match(error, {
      httpStatus: 409,
      status: { message: /Precondition failed: UID in precondition: another/ },
    });
  });

  t.test('dryRun stores nothing', async (t) => {
    const body = { metadata: { name: 'dry', namespace: 'default' } };
    const answer = await client.create(CONFIG_MAPS, body, { query: { dryRun: 'All' } });
    t.ok(answer.metadata?.uid);
    t.equal(await client.find(CONFIG_MAPS, { name: 'dry', namespace: 'default' }), undefined);
  });

  t.test('pods: status and spec are written apart; bound ones are deleted with grace', async (t) => {
    const ref = { name: 'p', namespace: 'default' };
    const pod = await client.create(PODS, {
      metadata: ref,
      spec: { containers: [{ name: 'c', image: 'i' }] },
      status: { phase: 'Running' },
    });
    t.match(pod, { status: { phase: 'Pending', qosClass: 'BestEffort' }, metadata: { generation: 1 } });
    await client.requestJson('POST', '/api/v1/namespaces/default/pods/p/binding', {
      body: {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name: 'p' },
        target: { kind: 'Node', name: 'node-a' },
      },
    });
    const running = await client.patch(
      PODS,
      { ...ref, subresource: 'status' },
      { type: 'merge', body: { status: { phase: 'Running' }, spec: { nodeName: 'other' } } },
    );
    t.match(running, {
      spec: { nodeName: 'node-a' },
      status: { phase: 'Running', conditions: [{ type: 'PodScheduled' }] },
    });
    const owner = { apiVersion: 'v1', kind: 'Pod', name: 'other', uid: 'u' };
    const written = await client.update(
      PODS,
      {
        ...running,
        metadata: {
          ...running.metadata,
          labels: { through: 'status' },
          finalizers: ['example.com/a'],
          ownerReferences: [owner],
        },
      },
      'status',
    );
    t.equal(written.metadata?.labels?.['through'], 'status');
    t.equal(written.metadata?.finalizers, undefined, 'a status cannot keep an object from going');
    t.equal(written.metadata?.ownerReferences, undefined, 'nor give it away');
    await client.delete(PODS, ref);
    t.match((await client.get(PODS, ref)).metadata, {
      deletionGracePeriodSeconds: 30,
      deletionTimestamp: /Z$/,
    });
    await client.delete(PODS, ref, { gracePeriodSeconds: 0 });
    t.equal(await client.find(PODS, ref), undefined);
  });

  t.test('views: Table, PartialObjectMetadata, YAML, 406, 415', async (t) => {
    const get = (accept: string, path = CONFIG_MAP_PATH) =>
      client.requestText('GET', path, { headers: { accept } });
    t.match(JSON.parse(await get('application/json;as=Table;g=meta.k8s.io;v=v1')), {
      kind: 'Table',
      rows: [{ cells: [/./] }],
    });
    t.match(JSON.parse(await get('application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1')), {
      kind: 'PartialObjectMetadataList',
    });
    t.match(await get('application/yaml', `${CONFIG_MAP_PATH}/twice`), /^kind: ConfigMap$/m);
    t.match(await refused(t, get('application/vnd.kubernetes.protobuf')), { httpStatus: 406 });
    const upload = client.requestJson('POST', CONFIG_MAP_PATH, { body: 'x', contentType: 'text/csv' });
    t.match(await refused(t, upload), { httpStatus: 415 });
  });

  t.test('who may not is told so', async (t) => {
    const jane = await server.client('jane');
    const error = await refused(t, jane.list(PODS, { namespace: 'default' }));
    t.match(error, {
      httpStatus: 403,
      status: {
        message:
          'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"',
      },
    });
    const anonymous = await server.client('anonymous');
    t.match(await refused(t, anonymous.list(NODES)), { httpStatus: 403, message: /system:anonymous/ });
    const token = anonymous.requestText('GET', '/api', { headers: { authorization: 'Bearer wrong' } });
    t.match(await refused(t, token), { httpStatus: 401 });
  });

  t.test('what is not served is 404 or 405', async (t) => {
    for (const [method, path, code] of [
      ['GET', '/apis/example.org/v1/things', 404],
      ['GET', '/nothing', 404],
      ['POST', '/api/v1/pods', 405],
      ['DELETE', '/api/v1/namespaces', 405],
      ['GET', '/api/v1/namespaces/default/pods/p/unknown', 404],
    ] as const) {
      t.match(await refused(t, client.requestText(method, path)), { httpStatus: code }, `${method} ${path}`);
    }
  });

  t.test('everything is there after kill -9', async (t) => {
    const before = await client.list(CONFIG_MAPS);
    await server.stop('SIGKILL');
    await server.start();
    const after = await client.list(CONFIG_MAPS);
    t.same(after.items, before.items);
  });

  t.test('a revision from before the start is forgotten: 410', async (t) => {
    const list = client.requestJson('GET', `${CONFIG_MAP_PATH}?resourceVersion=2&resourceVersionMatch=Exact`);
    t.match(await refused(t, list), { httpStatus: 410, status: { reason: 'Expired' } });
    const [event] = await watchEvents(client, { resourceVersion: '2' })(1);
    t.match(event, { type: 'ERROR', object: { code: 410, reason: 'Expired' } });
  });
});

/** Starts a watch of the ConfigMaps in "default"; the result takes so many events. */
function watchEvents(
  client: ApiClient,
  options: Parameters<ApiClient['watch']>[1],
): (count: number) => Promise<readonly WatchEvent<object>[]> {
  const controller = new AbortController();
  const stream = client.watch(CONFIG_MAPS, { ...options, namespace: 'default', signal: controller.signal });
  const first = stream.next();
  return async (count) => {
    const events: WatchEvent<object>[] = [];
    for (let next = await first; !next.done; next = await stream.next()) {
      events.push(next.value);
      if (events.length === count) break;
    }
    controller.abort();
    await stream.return(undefined).catch(() => {});
    return events;
  };
}
