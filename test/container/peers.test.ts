import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { sleep } from '../../runtime/base/time.ts';
import { buildProgram, cgroupDirectories, createFixture, type Fixture, skipReason } from './fixture.ts';

const execute = promisify(execFile);
const TIMEOUT_MS = 60_000;
const HOST_ROOT = 300_000;

/** tkadm-oci as a file that another program executes, over a state directory of its own. */
function installRuntime(fixture: Fixture): string {
  const program = buildProgram(fixture.directory, 'oci-main');
  const path = join(fixture.directory, 'tkadm-oci');
  writeFileSync(path, `#!/bin/sh\nexec ${process.execPath} ${program} --root ${fixture.stateDir} "$@"\n`, {
    mode: 0o755,
  });
  return path;
}

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function runner(file: string, common: readonly string[]): (...args: readonly string[]) => Promise<Outcome> {
  return async (...args) => {
    try {
      const { stdout, stderr } = await execute(file, [...common, ...args], { timeout: TIMEOUT_MS });
      return { code: 0, stdout, stderr };
    } catch (error) {
      return error as Outcome;
    }
  };
}

/** A root file system beside the fixture's, whose files belong to another user. */
async function copyRootfs(fixture: Fixture, uid: number): Promise<string> {
  const path = join(fixture.directory, `rootfs-${uid}`);
  await execute('cp', ['-a', fixture.rootfs, path]);
  await execute('chown', ['-hR', `${uid}:${uid}`, path]);
  return path;
}

const podman = '/usr/bin/podman';
t.test(
  'podman --runtime tkadm-oci',
  { skip: skipReason || (!existsSync(podman) && 'needs podman') },
  async (t) => {
    const fixture = createFixture();
    const runtime = installRuntime(fixture);
    const place = (name: string) => join(fixture.directory, 'podman', name);
    const pod = runner(podman, [
      ...[
        '--root',
        place('root'),
        '--runroot',
        place('run'),
        '--tmpdir',
        place('tmp'),
        '--storage-driver',
        'vfs',
      ],
      ...['--runtime', runtime],
      ...['--cgroup-manager', 'cgroupfs', '--events-backend', 'none'],
    ]);
    const options = ['--net', 'none', '--cgroup-parent', fixture.cgroupParent];
    const run = (...args: readonly string[]) => pod('run', '--rm', ...options, ...args);

    await t.test('run', async (t) => {
      t.match(await run('--rootfs', fixture.rootfs, 'sh', '-c', 'echo out; echo err >&2; exit 7'), {
        code: 7,
        stdout: 'out\n',
        stderr: /err/,
      });
      const shown = await run(
        '--memory',
        '64m',
        '--cap-drop',
        'all',
        '--user',
        '1000',
        '--read-only',
        '--rootfs',
        fixture.rootfs,
        'sh',
        '-c',
        'id -u; grep CapEff /proc/self/status; touch /x 2>&1; cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max',
      );
      t.match(
        shown.stdout,
        /^1000\nCapEff:\t0000000000000000\ntouch: \/x: Read-only file system\n67108864\n$/,
      );
    });

    await t.test('a tmpfs has what the image has at its place', async (t) => {
      const { stdout } = await run(
        '--tmpfs',
        '/etc',
        '--rootfs',
        fixture.rootfs,
        'sh',
        '-c',
        'cat /etc/passwd; echo new > /etc/new; grep " /etc " /proc/mounts',
      );
      t.match(stdout, /^root:x:0:0[\s\S]*tmpfs \/etc tmpfs rw/);
      t.notOk(existsSync(join(fixture.rootfs, 'etc/new')));
    });

    await t.test('user namespaces', async (t) => {
      const map = `0:${HOST_ROOT}:65536`;
      const rootfs = await copyRootfs(fixture, HOST_ROOT);
      const { stdout } = await run(
        '--uidmap',
        map,
        '--gidmap',
        map,
        '--rootfs',
        rootfs,
        'sh',
        '-c',
        'id -u; cat /proc/self/uid_map; touch /new; stat -c %u /new /dev/mqueue',
      );
      t.match(stdout, new RegExp(`^0\\n +0 +${HOST_ROOT} +65536\\n0\\n0\\n$`));
    });

    await t.test('exec, pause, kill and rm of a container in the background', async (t) => {
      t.match(
        await pod('run', '-d', '--name', 'one', ...options, '--rootfs', fixture.rootfs, 'sleep', '1000'),
        { code: 0 },
      );
      t.match(await pod('exec', 'one', 'sh', '-c', 'echo $0 in; exit 5', 'exec'), {
        code: 5,
        stdout: 'exec in\n',
      });
      t.match((await pod('exec', '-t', 'one', 'tty')).stdout, /\/dev\/pts\/\d/);
      t.match(await pod('pause', 'one'), { code: 0 });
      t.match((await pod('inspect', '--format', '{{.State.Status}}', 'one')).stdout, /paused/);
      t.match(await pod('unpause', 'one'), { code: 0 });
      t.match(await pod('update', '--pids-limit', '77', 'one'), {}, 'older versions do not have it');
      t.match(await pod('kill', 'one'), { code: 0 });
      t.match(await pod('wait', 'one'), { stdout: '137\n' });
      t.match(await pod('rm', 'one'), { code: 0 });
    });

    await t.test('a terminal', async (t) => {
      const { stdout } = await run('-t', '--rootfs', fixture.rootfs, 'sh', '-c', 'tty; exit 3');
      t.match(stdout, /\/dev\/console\r\n/);
    });

    t.same(readdirSync(join(fixture.stateDir, 'containers')), []);
    await pod('system', 'reset', '--force');
    await removeCgroups(fixture);
    fixture.remove();
  },
);

const containerd = '/usr/bin/containerd';
t.test(
  'containerd with tkadm-oci',
  { skip: skipReason || (!existsSync(containerd) && 'needs containerd') },
  async (t) => {
    const fixture = createFixture();
    const runtime = installRuntime(fixture);
    const directory = mkdtempSync('/tmp/tkadm-ctd-');
    const server = await startContainerd(directory);
    const ctr = runner('/usr/bin/ctr', ['--address', join(directory, 'c.sock')]);
    const options = [
      '--runc-binary',
      runtime,
      '--runc-root',
      join(directory, 'oci'),
      '--cgroup',
      `${fixture.cgroupParent}/c`,
      '--rootfs',
      fixture.rootfs,
    ];

    await t.test('run', async (t) => {
      t.match(await ctr('run', '--rm', ...options, 'one', 'sh', '-c', 'echo out; exit 4'), {
        code: 4,
        stdout: 'out\n',
      });
      t.match(await ctr('run', '--rm', ...options, 'bad', '/no-such'), {
        code: 1,
        stderr: /exec: "\/no-such"/,
      });
    });

    await t.test('task exec, pause, ps, metrics, kill and rm', async (t) => {
      t.match(await ctr('run', '-d', ...options, 'two', 'sleep', '1000'), { code: 0 });
      t.match(await ctr('task', 'exec', '--exec-id', 'x', 'two', 'sh', '-c', 'echo in; exit 6'), {
        code: 6,
        stdout: 'in\n',
      });
      t.match(await ctr('task', 'pause', 'two'), { code: 0 });
      t.match((await ctr('task', 'ls')).stdout, /two +\d+ +PAUSED/);
      t.match(await ctr('task', 'resume', 'two'), { code: 0 });
      t.match((await ctr('task', 'ps', 'two')).stdout, /\n\d+ /);
      t.match((await ctr('task', 'metrics', 'two')).stdout, /memory/);
      t.match(await ctr('task', 'kill', '-s', 'KILL', 'two'), { code: 0 });
      for (let tries = 0; tries < 500 && !/STOPPED/.test((await ctr('task', 'ls')).stdout); tries += 1)
        await sleep(20);
      t.match(await ctr('task', 'rm', 'two'), { stderr: /exit code 137|^$/ });
      t.match(await ctr('container', 'rm', 'two'), { code: 0 });
    });

    server.kill('SIGTERM');
    await new Promise((resolve) => server.once('exit', resolve));
    await removeCgroups(fixture);
    rmSync(directory, { recursive: true, force: true });
    fixture.remove();
  },
);

async function startContainerd(directory: string): Promise<ChildProcess> {
  const config = join(directory, 'config.toml');
  const lines = [
    'version = 2',
    `root = "${directory}/root"`,
    `state = "${directory}/state"`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
    `[grpc]\naddress = "${directory}/c.sock"`,
    `[ttrpc]\naddress = "${directory}/t.sock"`,
  ];
  writeFileSync(config, lines.join('\n'));
  const server = spawn(containerd, ['--config', config], { stdio: 'ignore' });
  const answers = runner('/usr/bin/ctr', ['--address', join(directory, 'c.sock'), 'version']);
  for (let tries = 0; tries < 500 && (await answers()).code !== 0; tries += 1) await sleep(20);
  return server;
}

/** The programs leave directories of cgroups behind, without processes. */
async function removeCgroups({ cgroupParent }: Fixture): Promise<void> {
  for (const path of cgroupDirectories(cgroupParent)) {
    await execute('find', [path, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', ';']);
  }
}
