import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import { chooseDevices, isExtendedResource } from '../../runtime/agent/devices/choose-devices.ts';
import { NODES, PODS } from '../../runtime/api/kinds.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { buildPod, NODE, openApiFixture, podWhere } from './api-fixture.ts';
import { createDevicePlugin } from './device-plugin.ts';
import { skipReason } from './fixture.ts';

const RESOURCE = 'example.com/null';

t.test('chooseDevices() takes reusable devices, then preferred ones, then by id', (t) => {
  const available = ['d', 'c', 'b', 'a'];
  const rows = [
    [[], [], 2, ['a', 'b']],
    [['d'], [], 2, ['d', 'a']],
    [['d'], ['c', 'x'], 3, ['d', 'c', 'a']],
  ] as const;
  for (const [reusable, preferred, count, expected] of rows)
    t.same(chooseDevices({ available, reusable, preferred, count }), expected);
  t.end();
});

t.test('isExtendedResource() knows names that a vendor may use', (t) => {
  for (const name of ['vendor.example/gpu', 'a/b']) t.ok(isExtendedResource(name), name);
  for (const name of ['gpu', 'kubernetes.io/x', 'sub.kubernetes.io/x', 'requests.a/b', 'a/b/c', '/x', 'a/'])
    t.notOk(isExtendedResource(name), name);
  t.end();
});

t.test('device plugins', { skip: skipReason }, async (t) => {
  const { client, kubectl, fixture } = await openApiFixture(t);
  const directory = join(fixture.directory, 'root/device-plugins');
  const plugin = createDevicePlugin({
    directory,
    scratch: t.testdir(),
    resourceName: RESOURCE,
    devices: { a: true, b: true, c: false },
  });
  t.teardown(() => plugin.close());
  const until = <T>(subject: string, look: () => Promise<T | undefined>) =>
    waitFor(look, { subject, timeoutMs: 30_000, intervalMs: 20 });
  const hasCounts = (capacity: string, allocatable: string) =>
    until(`${allocatable} of ${capacity} devices`, async () => {
      const status = (await client.find(NODES, { name: NODE }))?.status;
      const counts = [status?.capacity?.[RESOURCE], status?.allocatable?.[RESOURCE]];
      return counts[0] === capacity && counts[1] === allocatable ? true : undefined;
    });
  const create = (name: string, count: number) => {
    const pod = buildPod(name);
    const [main] = pod.spec?.containers ?? [];
    const container = { ...main, resources: { limits: { [RESOURCE]: String(count) } } } as core.Container;
    return client.create(PODS, { ...pod, spec: { ...pod.spec, containers: [container] } });
  };
  const isRunning = ({ status }: core.Pod) => status?.containerStatuses?.[0]?.ready === true;
  const devicesOf = async (name: string) =>
    (await kubectl('exec', name, '--', 'sh', '-c', 'echo $TEST_DEVICES; ls /dev/test-*')).trim();

  await until(
    'the registration socket',
    async () => existsSync(join(directory, 'kubelet.sock')) || undefined,
  );
  for (const [registration, message] of [
    [{ version: 'v1alpha1' }, /its version is "v1alpha1"/],
    [{ resourceName: 'gpu' }, /no name of an extended resource/],
    [{ endpoint: '../test.sock' }, /is no file name/],
  ] as const)
    await t.rejects(plugin.register(registration), { message });

  await plugin.register();
  await hasCounts('3', '2');

  await create('one', 1);
  await podWhere(client, 'one', isRunning);
  t.equal(await devicesOf('one'), 'b\n/dev/test-b', 'the device that the plugin prefers');
  t.equal(await kubectl('exec', 'one', '--', 'cat', '/usr/library'), 'for the device\n');
  await kubectl('exec', 'one', '--', 'sh', '-c', 'echo x > /dev/test-b');
  await t.rejects(kubectl('exec', 'one', '--', 'touch', '/usr/library'), { message: /Read-only/ });
  t.same(plugin.calls, ['allocate b', 'start b']);
  const [container] = (await fixture.cri.client.listContainers({})).containers;
  t.match(container?.annotations, { 'example.com/devices': 'b' });

  await create('many', 2);
  const many = await podWhere(client, 'many', ({ status }) => status?.phase === 'Failed');
  t.match(many.status, { reason: `OutOf${RESOURCE}`, message: /requested: 2, used: 1, capacity: 2$/ });
  plugin.failure = 'the device is on fire';
  await create('burnt', 1);
  const burnt = await podWhere(client, 'burnt', ({ status }) => status?.phase === 'Failed');
  t.match(burnt.status, { reason: 'UnexpectedAdmissionError', message: /the device is on fire/ });

  await fixture.stopAgent();
  await fixture.startAgent();
  await hasCounts('0', '0');
  const [status] =
    (await client.get(PODS, { name: 'one', namespace: 'default' })).status?.containerStatuses ?? [];
  const id = status?.containerID?.replace('tkadm://', '') ?? '';
  await fixture.cri.client.stopContainer({ containerId: id, timeout: 0 });
  await podWhere(
    client,
    'one',
    (pod) => isRunning(pod) && pod.status?.containerStatuses?.[0]?.restartCount === 1,
  );
  t.equal(await devicesOf('one'), 'b\n/dev/test-b', 'kept over a restart of the agent, without the plugin');

  await plugin.register();
  await hasCounts('3', '2');
  await create('two', 1);
  await podWhere(client, 'two', isRunning);
  t.equal(await devicesOf('two'), 'a\n/dev/test-a', 'what another pod has is not given out');
  await kubectl('delete', 'pod', 'one', '--timeout=15s');
  await create('three', 1);
  await podWhere(client, 'three', isRunning);
  t.equal(await devicesOf('three'), 'b\n/dev/test-b', 'what a deleted pod had is free');

  plugin.setDevices({ a: true, b: true, c: true, d: true });
  await hasCounts('4', '4');
  plugin.close();
  await hasCounts('4', '0');
  for (const name of ['two', 'three', 'many', 'burnt']) await kubectl('delete', 'pod', name, '--timeout=15s');
});
