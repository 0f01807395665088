import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { skipReason } from '../runtime/network/own-network.ts';
import { type CtrFixture, openCtrFixture } from './fixture.ts';

let fixture: CtrFixture;
let service: ChildProcess;

/** A further runtime over the fixture's files, as a process that can be killed. */
async function startService(): Promise<ChildProcess> {
  const { cri, directory, socketPath, bridge, cgroupParent } = fixture;
  const options = {
    socketPath: join(cri.directory, 'cri.sock'),
    root: join(cri.directory, 'root'),
    stateDir: join(cri.directory, 'state'),
    cniConfDir: join(cri.directory, 'net.d'),
    cniBinDirs: [],
    streamingAddress: '127.0.0.1:0',
    bundlePath: join(cri.directory, 'bundle'),
    architecture: process.arch,
    imageSocketPath: join(directory, 'images.sock'),
    ctr: { socketPath, root: join(directory, 'ctr'), runDir: directory, bridgeName: bridge, cgroupParent },
  };
  const program = join(import.meta.dirname ?? '.', 'service-process.ts');
  const child = spawn(process.execPath, ['--import=tsx', program, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout!, 'data');
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}

t.before(async () => {
  if (skipReason) return;
  fixture = await openCtrFixture();
  fixture.cri.client.close();
  await fixture.cri.runtime.close();
  service = await startService();
});

t.teardown(async () => {
  if (fixture === undefined) return;
  await kill(service);
  await fixture.restart();
  await fixture.close();
});

t.test('containers, logs and exit codes survive kill -9 of the service', { skip: skipReason }, async (t) => {
  await fixture.ok(
    'run',
    '-d',
    '--name',
    'goes-on',
    '-p',
    '80',
    'busybox',
    'sh',
    '-c',
    'n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done',
  );
  await fixture.ok('run', '-d', '--name', 'ends', 'busybox', 'sh', '-c', 'sleep 1; echo meanwhile; exit 42');
  await fixture.ok('run', '-d', '--name', 'back', '--restart', 'always', 'busybox', 'sh', '-c', 'sleep 1');
  await fixture.ok('create', '--name', 'waits', 'busybox', 'echo', 'late');
  const before = await fixture.ok('inspect', '-f', '{{.State.Pid}} {{json .NetworkSettings}}', 'goes-on');
  await kill(service);
  t.equal((await fixture.run(['ps'])).code, 1, 'nobody answers');
  t.match((await fixture.run(['ps'])).stderr, /tkadm service start runtime/);
  await sleep(1500);
  service = await startService();
  t.equal(await fixture.ok('inspect', '-f', '{{.State.Pid}} {{json .NetworkSettings}}', 'goes-on'), before);
  t.equal(await fixture.ok('wait', 'ends'), '42');
  t.equal(await fixture.ok('logs', 'ends'), 'meanwhile');
  t.equal(await fixture.ok('start', '-a', 'waits'), 'late');
  await fixture.ok('stop', '-t', '0', 'goes-on');
  const numbers = (await fixture.ok('logs', 'goes-on')).split('\n').map(Number);
  t.same(
    numbers,
    numbers.map((_, index) => index + 1),
    'no line is missing, none came twice',
  );
  await fixture.ok('rm', '-f', 'goes-on', 'ends', 'back', 'waits');
});

t.test(
  'a service that is killed in the middle of starts leaves nothing half made',
  { skip: skipReason },
  async (t) => {
    for (let round = 0; round < 3; round += 1) {
      const started = Array.from({ length: 4 }, (_, index) =>
        fixture.run(['run', '-d', '--name', `r${round}-${index}`, '-p', '80', 'busybox', 'sleep', '600']),
      );
      await sleep(300 + round * 150);
      await kill(service);
      await Promise.all(started);
      service = await startService();
      for (const name of (await fixture.ok('ps', '-a', '--format', '{{.Names}}'))
        .split('\n')
        .filter(Boolean)) {
        t.match(await fixture.ok('inspect', '-f', '{{.State.Status}}', name), /^(created|running)$/, name);
        await fixture.ok('rm', '-f', name);
      }
    }
    t.equal(await fixture.ok('ps', '-aq'), '');
  },
);
