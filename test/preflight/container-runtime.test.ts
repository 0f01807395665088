import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import t, { type Test } from 'tap';
import { createCriProbe } from '../../bootstrap/phases/cri-probe.ts';
import { CHECKS } from '../../preflight/checks.ts';
import type { PreflightInput } from '../../preflight/finding.ts';
import { runPreflight } from '../../preflight/run.ts';
import { SILENT_LOGGER } from '../../runtime/base/log.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { createRuntime } from '../../runtime/cri/create-runtime.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { writeBusyboxArchive } from '../hosts/busybox-image.ts';
import { createPrivateMachine } from '../hosts/private-machine.ts';

const CONTAINERD = '/usr/bin/containerd';
const skip =
  process.getuid?.() !== 0
    ? 'needs root'
    : existsSync(CONTAINERD)
      ? false
      : 'needs containerd, a runtime of somebody else';
const IMAGE = 'preflight.example/busybox:1';

const INPUT: PreflightInput = {
  scope: 'init',
  engine: 'upstream',
  nodeName: 'node-1',
  ports: [],
  absentFiles: [],
  podCidrs: [],
  serviceCidrs: [],
  ignored: [],
  openCri: createCriProbe,
};

async function look(input: Partial<PreflightInput>, host = createLocalHost()) {
  const names = ['CRI', 'ContainerRuntimeVersion', 'CgroupDriver', 'ImagePull'];
  const checks = CHECKS.filter((row) => names.includes(row.name));
  const { findings } = await runPreflight(host, { ...INPUT, ...input }, { checks });
  return findings;
}

/** A socket's path has at most 107 bytes (unix(7)), which a test's own directory may exceed. */
async function makeDirectory(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'tkadm-cri-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Starts containerd over a directory of its own; it ends with the test. */
async function startContainerd(t: Test, lines: readonly string[] = []): Promise<string> {
  const directory = await makeDirectory(t);
  const socket = join(directory, 'containerd.sock');
  const config = [
    'version = 2',
    `root = "${directory}/root"`,
    `state = "${directory}/state"`,
    ...lines,
    '[grpc]',
    `address = "${socket}"`,
    '[plugins."io.containerd.grpc.v1.cri"]',
    'stream_server_port = "0"',
  ];
  await writeFile(join(directory, 'config.toml'), config.join('\n'));
  const daemon = execa(CONTAINERD, ['-c', join(directory, 'config.toml')], {
    reject: false,
    stdio: 'ignore',
  });
  t.teardown(async () => {
    daemon.kill('SIGTERM');
    await daemon;
  });
  await waitFor(
    async () =>
      (await execa('ctr', ['-a', socket, 'version'], { reject: false })).exitCode === 0 ? true : undefined,
    { subject: 'containerd', timeoutMs: 15_000 },
  );
  return socket;
}

t.test('a runtime of somebody else: containerd', { skip }, async (t) => {
  const socket = await startContainerd(t);
  const criSocket = `unix://${socket}`;
  await t.test('CRI and ContainerRuntimeVersion', async (t) => {
    const findings = await look({ criSocket });
    t.notOk(
      findings.some((row) => row.check === 'CRI'),
      'RuntimeReady',
    );
    t.match(findings, [
      { check: 'ContainerRuntimeVersion', severity: 'warning', evidence: /^containerd 1\..*RuntimeConfig/ },
    ]);
    t.match(await look({ criSocket, engine: 'embedded' }), findings, 'the same with the embedded engine');
  });
  await t.test('CgroupDriver, as containerd says in its file', async (t) => {
    const machine = await createPrivateMachine({
      setup: `mkdir -p /etc/containerd ${join(socket, '..')}; : > ${socket}.x
printf '[a]\\n  SystemdCgroup = false\\n' > /etc/containerd/config.toml`,
    });
    t.teardown(() => machine.close());
    const driver = async (cgroupDriver: string) =>
      (await look({ criSocket, cgroupDriver }, machine.host)).filter((row) => row.check === 'CgroupDriver');
    t.same(await driver('cgroupfs'), []);
    t.match(await driver('systemd'), [
      {
        severity: 'error',
        reason: /driver is cgroupfs, the node agent's is systemd/,
        evidence: /SystemdCgroup = false in line 2/,
        fix: /SystemdCgroup = true.*systemctl restart containerd/,
      },
    ]);
  });
  await t.test('ImagePull', async (t) => {
    const pull = async (name: string, policy: 'Always' | 'IfNotPresent' | 'Never', isDryRun = false) =>
      (await look({ criSocket, isDryRun, images: { names: [name], policy, isSerial: true } })).filter(
        (row) => row.check === 'ImagePull',
      );
    t.match(await pull(IMAGE, 'Never'), [{ severity: 'error', reason: /is not there.*Never/ }]);
    t.match(await pull('127.0.0.1:1/nothing:1', 'IfNotPresent'), [
      { severity: 'error', reason: /not pulled in 5 attempts/, evidence: /connection refused/ },
    ]);
    t.same(await pull('127.0.0.1:1/nothing:1', 'Always', true), [], 'nothing is pulled in a dry run');
    const pause = 'registry.k8s.io/pause:3.10.2';
    const names = [pause];
    t.match(
      await look({ criSocket, images: { names, policy: 'Never', isSerial: false } }),
      [
        { check: 'ContainerRuntimeVersion' },
        { severity: 'warning', evidence: /pause:3\.\d/, fix: /sandbox_image = / },
        { severity: 'error' },
      ],
      'another sandbox image',
    );
    const archive = await writeBusyboxArchive(t.testdir(), IMAGE);
    await execa('ctr', ['-a', socket, '-n', 'k8s.io', 'images', 'import', archive]);
    await waitFor(async () => ((await pull(IMAGE, 'Never')).length === 0 ? true : undefined), {
      subject: 'the image to be known',
      timeoutMs: 5_000,
    });
    t.same(await pull(IMAGE, 'IfNotPresent'), []);
  });
});

t.test('containerd as it is often shipped, without CRI', { skip }, async (t) => {
  const socket = await startContainerd(t, ['disabled_plugins = ["io.containerd.grpc.v1.cri"]']);
  t.match(await look({ criSocket: `unix://${socket}` }), [
    { check: 'CRI', severity: 'error', reason: /does not answer CRI v1/, fix: /disabled_plugins/ },
  ]);
});

t.test('a socket that nobody answers, in an upgrade too', { skip }, async (t) => {
  const socket = join(t.testdir({ socket: '' }), 'socket');
  t.match(await look({ criSocket: `unix://${socket}` }), [{ check: 'CRI', severity: 'error' }]);
  t.match(await look({ criSocket: `unix://${socket}`, scope: 'upgrade' }), [
    { check: 'ContainerRuntimeVersion', severity: 'error' },
  ]);
});

t.test('a machine whose sockets are not reached from here', { skip }, async (t) => {
  const socket = join(t.testdir({ socket: '' }), 'socket');
  t.match(await look({ criSocket: `unix://${socket}`, openCri: undefined }), [
    { check: 'CRI', severity: 'warning', reason: /was not asked/ },
  ]);
});

t.test('a runtime that has RuntimeConfig: ours', { skip }, async (t) => {
  const directory = await makeDirectory(t);
  for (const name of ['cni', 'bin']) await mkdir(join(directory, name));
  const socketPath = join(directory, 'runtime.sock');
  const runtime = await createRuntime({
    root: join(directory, 'root'),
    stateDir: join(directory, 'state'),
    socketPath,
    cniConfDir: join(directory, 'cni'),
    cniBinDirs: [join(directory, 'bin')],
    streamingAddress: '127.0.0.1:0',
    bundlePath: join(directory, 'none'),
    architecture: process.arch === 'arm64' ? 'arm64' : 'x64',
    now: () => new Date(),
    log: SILENT_LOGGER,
  });
  t.teardown(() => runtime.close());
  const criSocket = `unix://${socketPath}`;
  t.same(await look({ criSocket, cgroupDriver: 'cgroupfs' }), []);
  t.match(await look({ criSocket, cgroupDriver: 'systemd' }), [
    {
      check: 'CgroupDriver',
      severity: 'note',
      evidence: /RuntimeConfig says cgroupfs, which the kubelet follows/,
    },
  ]);
  t.match(await look({ criSocket, cgroupDriver: 'systemd', engine: 'embedded' }), [
    { check: 'CgroupDriver', severity: 'error' },
  ]);
});
