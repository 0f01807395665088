import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { resolveCdi } from '../../runtime/cri/cdi.ts';
import { openCriFixture, runContainer, runHostPod, skipReason } from './fixture.ts';

const SPEC = {
  cdiVersion: '0.6.0',
  kind: 'vendor.com/net',
  containerEdits: { env: ['COMMON=yes'] },
  devices: [
    { name: 'one', containerEdits: { env: ['DEVICE=one'] } },
    { name: 'two', containerEdits: { env: ['DEVICE=two'] } },
  ],
};

t.test('resolveCdi() finds devices by name, the later directory first', async (t) => {
  const override = {
    ...SPEC,
    containerEdits: {},
    devices: [{ name: 'two', containerEdits: { env: ['DEVICE=mine'] } }],
  };
  const root = t.testdir({
    etc: {
      'net.json': JSON.stringify(SPEC),
      'gpu.yaml':
        'cdiVersion: 0.5.0\nkind: vendor.com/gpu\ndevices: [{name: "0", containerEdits: {env: [GPU=0]}}]\n',
      'readme.txt': 'no spec',
    },
    run: { 'net.json': JSON.stringify(override) },
    twice: { 'a.json': JSON.stringify(SPEC), 'b.json': JSON.stringify(SPEC) },
    broken: { 'x.json': '{' },
    newer: {
      'x.json': JSON.stringify({ ...SPEC, devices: [{ name: 'one', containerEdits: { intelRdt: {} } }] }),
    },
  });
  const at = (...names: readonly string[]) => names.map((name) => join(root, name));
  const env = async (names: readonly string[], directories: readonly string[]) =>
    (await resolveCdi(names, directories)).flatMap((edits) => edits.env ?? []);
  t.same(await env([], at('broken')), [], 'nothing is read for nothing');
  const all = ['vendor.com/net=one', 'vendor.com/net=two', 'vendor.com/gpu=0'];
  t.same(await env(all, at('etc')), ['COMMON=yes', 'DEVICE=one', 'DEVICE=two', 'GPU=0']);
  t.same(await env(['vendor.com/net=two'], at('etc', 'run')), ['DEVICE=mine']);
  t.same(await env(['vendor.com/net=one'], at('etc', 'run', 'missing')), ['COMMON=yes', 'DEVICE=one']);
  const rows = [
    ['vendor.com/net=nine', 'etc', /"vendor.com\/net=nine" .*: no CDI spec has it/],
    ['nonsense', 'etc', /"nonsense" .*: it is no name of the form/],
    ['vendor.com/net=one', 'twice', /it is in ".*a.json" and in ".*b.json"/],
    ['vendor.com/net=one', 'broken', /Cannot use CDI spec ".*x.json"/],
    ['vendor.com/net=one', 'newer', /"containerEdits.intelRdt"/],
  ] as const;
  for (const [name, directory, message] of rows)
    await t.rejects(resolveCdi([name], at(directory)), { message });
});

t.test('a container gets what its CDI devices bring', { skip: skipReason }, async (t) => {
  const cdi = mkdtempSync('/tmp/tkadm-cdi-');
  const fixture = await openCriFixture({ cdiDirs: [cdi] });
  t.teardown(async () => {
    await fixture.close();
    rmSync(cdi, { recursive: true, force: true });
  });
  mkdirSync(join(cdi, 'driver'));
  writeFileSync(join(cdi, 'driver/version'), 'v1\n');
  const edits = {
    env: ['FROM_IMAGE=changed', 'CARD=0'],
    deviceNodes: [{ path: '/dev/card0', hostPath: '/dev/zero', permissions: 'r', fileMode: 0o444 }],
    mounts: [{ hostPath: join(cdi, 'driver'), containerPath: '/driver', options: ['ro', 'nosuid'] }],
    additionalGids: [4444],
  };
  const writeState = `cat > ${join(cdi, 'hook.state')}`;
  const hook = { path: '/bin/sh', args: ['sh', '-c', writeState], timeout: 10 };
  const hooked = { hooks: [{ hookName: 'createRuntime', ...hook }] };
  const failing = { hooks: [{ hookName: 'createRuntime', path: '/bin/false' }] };
  const devices = [
    { name: 'card0', containerEdits: edits },
    { name: 'hooked', containerEdits: hooked },
    { name: 'failing', containerEdits: failing },
  ];
  writeFileSync(
    join(cdi, 'card.json'),
    JSON.stringify({ cdiVersion: '0.7.0', kind: 'vendor.com/card', devices }),
  );
  const podSandboxId = await runHostPod(fixture);
  const containerId = await runContainer(fixture, podSandboxId, {
    command: ['sleep', '100'],
    cdiDevices: [{ name: 'vendor.com/card=card0' }],
  });
  const script =
    'echo $FROM_IMAGE $CARD; head -c 2 /dev/card0 | wc -c; (echo x > /dev/card0) 2>&1; cat /driver/version; touch /driver/x 2>&1; id -G';
  const { stdout } = await fixture.client.execSync({ containerId, cmd: ['sh', '-c', script] });
  const lines = Buffer.from(stdout).toString().split('\n');
  t.same(lines.slice(0, 2), ['changed 0', '2']);
  t.match(lines[2], /Operation not permitted|Permission denied/, 'the permissions hold');
  t.equal(lines[3], 'v1');
  t.match(lines[4], /Read-only file system/);
  t.match(lines[5], /\b4444\b/);
  const create = (name: string) =>
    runContainer(fixture, podSandboxId, { metadata: { name }, command: ['true'], cdiDevices: [{ name }] });
  await t.rejects(create('vendor.com/card=none'), { message: /no CDI spec has it/ });
  const id = await create('vendor.com/card=hooked');
  t.match(
    JSON.parse(readFileSync(join(cdi, 'hook.state'), 'utf8')),
    { id, status: /creat/ },
    'a hook was run',
  );
  await t.rejects(create('vendor.com/card=failing'), { message: /hook/i });
});
