import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import t, { type Test } from 'tap';
import type { OciLinux, OciSpec } from '../../runtime/container/oci-spec.ts';
import { eventually } from '../hosts/cluster.ts';
import { createSystemdMachine, type SystemdMachine, systemdSkipReason } from '../hosts/systemd-machine.ts';
import { buildProgram, createFixture, type Fixture, skipReason } from './fixture.ts';

const SLICE = 'tkadm-test.slice';
const SLICE_PATH = '/tkadm.slice/tkadm-test.slice';
const WAIT_MS = 10_000;
const PODMAN = '/usr/bin/podman';
const MEMORY = 64 * 2 ** 20;

t.test('tkadm-oci --systemd-cgroup', { skip: skipReason || systemdSkipReason }, async (t) => {
  let machine: SystemdMachine;
  try {
    machine = await createSystemdMachine();
  } catch (error) {
    t.pass('containers of systemd', { skip: `systemd does not start here: ${(error as Error).message}` });
    return;
  }
  const fixture = createFixture();
  t.teardown(async () => {
    await machine.close();
    fixture.remove();
  });
  const program = buildProgram(fixture.directory, 'oci-main');
  const bundle = join(fixture.directory, 'bundle');
  mkdirSync(bundle);
  renameSync(fixture.rootfs, join(bundle, 'rootfs'));

  const inside = async (...argv: readonly string[]) => {
    const { exitCode, stdout, stderr } = await execa(
      machine.enter[0]!,
      [...machine.enter.slice(1), ...argv],
      {
        reject: false,
        // The streams of a container that goes on are this command's.
        stdin: 'ignore',
        timeout: 30_000,
      },
    );
    return { code: exitCode, stdout, stderr };
  };
  const command = [process.execPath, program, '--root', fixture.stateDir];
  const oci = (...args: readonly string[]) => inside(...command, '--systemd-cgroup', ...args);
  /** Without the streams, which a container would keep open. */
  const create = (id: string) =>
    inside(
      'sh',
      '-c',
      '"$@" </dev/null >/dev/null 2>"$0"',
      join(fixture.directory, 'errors'),
      ...command,
      '--systemd-cgroup',
      ...['create', '--bundle', bundle, id],
    );
  const show = async (unit: string, ...names: readonly string[]) => {
    const { stdout } = await inside('systemctl', 'show', unit, ...names.map((name) => `--property=${name}`));
    return Object.fromEntries(stdout.split('\n').map((line) => line.split(/=(.*)/s).slice(0, 2)));
  };
  const checkGone = async (t: Pick<Test, 'strictSame'>, path: string) => {
    const left = ['memory', 'pids', 'freezer', 'cpuset', 'name=systemd', 'unified']
      .map((name) => machine.cgroup(name, path))
      .filter((directory) => directory && existsSync(directory));
    t.strictSame(left, [], 'no directory is left');
    await eventually(
      'the end of the unit',
      WAIT_MS,
      async () => (await show(basename(path), 'LoadState'))['LoadState'] === 'not-found',
    );
  };

  await t.test('run: the container is a scope of its slice while it runs', async (t) => {
    writeBundle(fixture, bundle, { args: ['cat', '/proc/self/cgroup'], cgroupsPath: `${SLICE}:box:one` });
    const { code, stdout, stderr } = await oci('run', '--bundle', bundle, 'one');
    t.equal(code, 0, stderr);
    const scope = `${SLICE_PATH}/box-one.scope`;
    for (const line of stdout.trim().split('\n')) {
      const [, controllers] = line.split(':');
      // Those that no container joins.
      if (/perf_event|net_cls|net_prio|rdma|misc|hugetlb/.test(controllers ?? '')) continue;
      t.ok(line.endsWith(`:${scope}`), line);
    }
    await checkGone(t, scope);
    t.end();
  });

  await t.test("limits are systemd's and the files', an update changes both, a reload neither", async (t) => {
    writeBundle(fixture, bundle, {
      args: ['sleep', '1000'],
      cgroupsPath: `${SLICE}:box:two`,
      resources: {
        memory: { limit: MEMORY },
        cpu: { shares: 512, quota: 20_000, period: 100_000 },
        pids: { limit: 50 },
      },
    });
    const scope = `${SLICE_PATH}/box-two.scope`;
    const created = await create('two');
    t.equal(created.code, 0, readFileSync(join(fixture.directory, 'errors'), 'utf8'));
    t.match(await oci('start', 'two'), { code: 0, stderr: '' });
    t.match(
      await show(
        'box-two.scope',
        'Slice',
        'ControlGroup',
        'ActiveState',
        'Delegate',
        'TasksMax',
        'CPUQuotaPerSecUSec',
        'DevicePolicy',
      ),
      {
        Slice: SLICE,
        ControlGroup: scope,
        ActiveState: 'active',
        Delegate: 'yes',
        TasksMax: '50',
        CPUQuotaPerSecUSec: '200ms',
        DevicePolicy: 'strict',
      },
    );
    const isV1 = machine.cgroup('name=systemd', '') !== undefined;
    const memoryName = isV1 ? 'MemoryLimit' : 'MemoryMax';
    const memoryFile = () =>
      readFileSync(
        join(machine.cgroup('memory', scope)!, isV1 ? 'memory.limit_in_bytes' : 'memory.max'),
        'utf8',
      ).trim();
    t.match(await show('box-two.scope', memoryName), { [memoryName]: String(MEMORY) });
    t.equal(memoryFile(), String(MEMORY));

    const first = machine.cgroup('pids', scope)!;
    await eventually('the end of the process that the scope began with', WAIT_MS, async () =>
      /^\d+\n$/.test(readFileSync(join(first, 'cgroup.procs'), 'utf8')),
    );
    const state = JSON.parse((await oci('state', 'two')).stdout) as { readonly pid: number };
    t.ok(state.pid > 0);
    const more = await oci('exec', 'two', 'cat', '/proc/self/cgroup');
    t.match(more.stdout, new RegExp(`pids.*:${scope}$`, 'm'));
    t.match(more.stdout, new RegExp(`^0::${scope}$`, 'm'), "systemd knows the process as the scope's");

    const updated = await oci('update', '--memory', String(2 * MEMORY), '--pids-limit', '70', 'two');
    t.equal(updated.code, 0, updated.stderr);
    t.match(await show('box-two.scope', memoryName, 'TasksMax'), {
      [memoryName]: String(2 * MEMORY),
      TasksMax: '70',
    });
    t.equal(memoryFile(), String(2 * MEMORY));
    await inside('systemctl', 'daemon-reload');
    t.equal(memoryFile(), String(2 * MEMORY));
    const denied = await oci('exec', 'two', 'sh', '-c', 'mknod /tmp/disk b 8 0 && head -c 1 /tmp/disk');
    t.match(denied.stderr, /not permitted/, 'devices are guarded as before');

    t.equal((await oci('pause', 'two')).code, 0);
    t.match(await oci('delete', '--force', 'two'), { code: 0, stderr: '' });
    await checkGone(t, scope);
    t.end();
  });

  await t.test('systemctl stop ends a container, which can be deleted then', async (t) => {
    writeBundle(fixture, bundle, { args: ['sleep', '1000'], cgroupsPath: ':box:three' });
    await create('three');
    t.match(await oci('start', 'three'), { code: 0, stderr: '' });
    await inside('systemctl', 'kill', '--signal=KILL', 'box-three.scope');
    await inside('systemctl', 'stop', 'box-three.scope');
    await eventually('the end of the container', WAIT_MS, async () =>
      (await oci('state', 'three')).stdout.includes('"stopped"'),
    );
    t.match(await oci('delete', 'three'), { code: 0, stderr: '' });
    await checkGone(t, '/system.slice/box-three.scope');
    t.end();
  });

  await t.test("over the bus, when systemd's own socket is not there", async (t) => {
    const start = await inside('systemctl', 'start', 'dbus.socket', 'dbus.service');
    t.equal(start.code, 0, start.stderr);
    await inside('mv', '/run/systemd/private', '/run/systemd/hidden');
    writeBundle(fixture, bundle, { args: ['cat', '/proc/self/cgroup'] });
    const { code, stdout, stderr } = await oci('run', '--bundle', bundle, 'four');
    await inside('mv', '/run/systemd/hidden', '/run/systemd/private');
    t.equal(code, 0, stderr);
    t.match(stdout, /:\/system.slice\/tkadm-four.scope$/m, 'and the default place');
    await checkGone(t, '/system.slice/tkadm-four.scope');
    t.end();
  });

  await t.test(
    'podman --cgroup-manager systemd',
    { skip: !existsSync(PODMAN) && 'needs podman' },
    async (t) => {
      const runtime = join(fixture.directory, 'tkadm-oci');
      writeFileSync(runtime, `#!/bin/sh\nexec ${command.join(' ')} "$@"\n`, { mode: 0o755 });
      const place = (name: string) => join(fixture.directory, 'podman', name);
      const places = ['--root', place('root'), '--runroot', place('run'), '--tmpdir', place('tmp')];
      const means = ['--runtime', runtime, '--cgroup-manager', 'systemd', '--storage-driver', 'vfs'];
      const { code, stdout, stderr } = await inside(
        ...[PODMAN, ...places, ...means, '--events-backend', 'none'],
        ...[
          'run',
          '--rm',
          '--net',
          'none',
          '--cgroupns',
          'host',
          '--memory',
          '64m',
          '--cgroup-parent',
          SLICE,
        ],
        ...['--rootfs', join(bundle, 'rootfs'), 'cat', '/proc/self/cgroup'],
      );
      t.equal(code, 0, stderr);
      const unit = /:\/tkadm.slice\/tkadm-test.slice\/(libpod-[0-9a-f]+.scope)$/m.exec(stdout)?.[1];
      t.ok(unit, stdout);
      await checkGone(t, `${SLICE_PATH}/${unit}`);
      t.end();
    },
  );

  await t.test('refusals leave nothing', async (t) => {
    for (const [cgroupsPath, message] of [
      ['/path', /"\/path" is not SLICE:PREFIX:NAME/],
      ['a.slice:box:b.slice', /"b.slice" is a slice/],
      ['../a.slice:box:c', /"..\/a.slice" is no name of a slice/],
    ] as const) {
      writeBundle(fixture, bundle, { args: ['true'], cgroupsPath });
      const { code, stderr } = await oci('run', '--bundle', bundle, 'five');
      t.equal(code, 1);
      t.match(stderr, message);
    }
    writeBundle(fixture, bundle, { args: ['true'], cgroupsPath: `${SLICE}:box:six` });
    const hidden = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs tmpfs /run; exec "$@"', 'sh'];
    const { code, stderr } = await inside(
      ...hidden,
      ...command,
      '--systemd-cgroup',
      'run',
      '--bundle',
      bundle,
      'six',
    );
    t.equal(code, 1);
    t.match(
      stderr,
      /Cannot reach systemd: "\/run\/systemd\/private": .*ENOENT.*\n.*leave "--systemd-cgroup" out/s,
    );
    t.equal((await oci('list', '--quiet')).stdout, '');
    t.end();
  });
});

interface BundleContent {
  readonly args: readonly string[];
  readonly cgroupsPath?: string;
  readonly resources?: OciLinux['resources'];
}

/** Without a cgroup namespace, so that a process shows its whole path. */
function writeBundle(
  fixture: Fixture,
  bundle: string,
  { args, cgroupsPath, resources }: BundleContent,
): void {
  const spec = fixture.buildSpec(args);
  const { cgroupsPath: _unused, ...linux } = spec.linux!;
  const content: OciSpec = {
    ...spec,
    root: { path: 'rootfs' },
    linux: {
      ...linux,
      ...(cgroupsPath === undefined ? {} : { cgroupsPath }),
      ...(resources === undefined ? {} : { resources }),
      namespaces: linux.namespaces!.filter(({ type }) => type !== 'cgroup'),
    },
  };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(content));
}
