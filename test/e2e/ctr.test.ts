import { dirname } from 'node:path';
import t from 'tap';
import {
  eventually,
  findPids,
  initCluster,
  labObstacle,
  readyNodes,
  TKADM,
  tkadm,
} from '../hosts/cluster.ts';
import { createLab, type LabHost } from '../hosts/lab.ts';

/** What `tkadm ctr` and its service put on a machine, one thing a line. */
const SNAPSHOT = `
ls -d /var/lib/tkadm/* /run/tkadm /var/log/tkadm 2>/dev/null | sed 's/^/file /'
awk '{print "mount " $5}' /proc/self/mountinfo
ip -o link | awk '{print "interface " $2}' | sed 's/@.*//'
nft list tables | sed 's/^/nft /'
find /sys/fs/cgroup -mindepth 2 -type d | grep tkadm | sed 's/^/cgroup /'
ls -d /proc/[0-9]* | while read p; do tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -E 'tkadm-|busybox' | grep -v grep; done | sed 's/^/process /'
`;

async function snapshot(host: LabHost): Promise<readonly string[]> {
  return (await host.exec(['sh', '-c', SNAPSHOT])).stdout.split('\n').filter(Boolean).sort();
}

async function ctr(host: LabHost, ...args: readonly string[]): Promise<string> {
  const result = await tkadm(host, ['ctr', ...args]);
  if (result.exitCode !== 0) throw new Error(`ctr ${args.join(' ')}: ${result.exitCode} ${result.all}`);
  return result.stdout.trim();
}

const BUILD = `
mkdir -p /root/box/bin && cp /bin/busybox /root/box/bin/ && cd /root/box
for name in sh sleep echo cat; do ln -sf busybox bin/$name; done
printf 'FROM scratch\\nCOPY bin /bin\\nENV PATH=/bin\\nCMD ["sh"]\\n' > Dockerfile
`;

const skip = labObstacle({ busybox: 'busybox-static' });

t.test('tkadm ctr on a machine without a cluster', { skip, timeout: 280_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['alone'] });
  t.teardown(() => lab.close());
  const [host] = lab.hosts as [LabHost];
  const clean = await snapshot(host);

  await t.test('says how its service is started', async (t) => {
    const result = await tkadm(host, ['ctr', 'ps']);
    t.equal(result.exitCode, 1);
    t.match(result.stderr, /try: tkadm service start runtime/);
    const started = await tkadm(host, ['service', 'start', 'runtime']);
    t.equal(started.exitCode, 0, started.all);
    t.equal(await ctr(host, 'ps', '-q'), '', 'it answers at once');
    t.same(await findPids(host, 'tkadm-agen[t]'), [], 'no agent');
  });

  await t.test('builds, runs, publishes', async (t) => {
    await host.exec(['sh', '-c', BUILD]);
    await ctr(host, 'build', '-q', '-t', 'box', '/root/box');
    t.equal(await ctr(host, 'run', '--rm', 'box', 'sh', '-c', 'echo $$'), '1');
    // Run as a program: the Node.js below has an --env-file of its own, and would take NODE_OPTIONS from it.
    const file = 'echo NODE_OPTIONS=--none > /root/env';
    const run = `${file} && PATH=${dirname(process.execPath)}:$PATH ${TKADM} ctr run --rm --env-file /root/env box sh -c 'echo $NODE_OPTIONS'`;
    t.equal((await host.exec(['sh', '-c', run])).stdout.trim(), '--none');
    const script =
      'mkdir -p /w && echo from the container > /w/index.html && exec busybox httpd -f -p 80 -h /w';
    await ctr(
      host,
      'run',
      '-d',
      '--name',
      'web',
      '--restart',
      'always',
      '-p',
      '4000:80',
      'box',
      'sh',
      '-c',
      script,
    );
    const url = 'curl -sf --retry 50 --retry-delay 1 --retry-all-errors';
    for (const address of ['127.0.0.1', host.address]) {
      const { stdout } = await host.exec(['sh', '-c', `${url} http://${address}:4000/`]);
      t.equal(stdout.trim(), 'from the container', address);
    }
  });

  await t.test('containers go on when the service is killed, and answer again', async (t) => {
    const before = await ctr(host, 'inspect', '-f', '{{.State.Pid}}', 'web');
    for (const pid of await findPids(host, 'tkadm-runtime.cjs'))
      await host.exec(['kill', '-KILL', String(pid)]);
    const after = await eventually('the service', 60_000, () =>
      ctr(host, 'inspect', '-f', '{{.State.Pid}}', 'web'),
    );
    t.equal(after, before);
  });

  await t.test('a stop of the services stops them, a start brings them back', async (t) => {
    const stopped = await tkadm(host, ['service', 'stop', '--all']);
    t.match(stopped.stdout, /Stopped 1 containers of tkadm ctr/);
    t.same(await findPids(host, '^busybox http[d]'), []);
    await tkadm(host, ['service', 'start', 'runtime']);
    await eventually(
      'the container',
      60_000,
      async () => (await ctr(host, 'ps', '--format', '{{.Names}} {{.State}}')) === 'web running',
    );
  });

  await t.test('a cluster beside it does not touch it; reset takes everything away', async (t) => {
    await initCluster(host);
    t.same(await readyNodes(host), ['alone']);
    t.equal(await ctr(host, 'ps', '--format', '{{.Names}}'), 'web', 'pods are not among them');
    const result = await tkadm(host, ['reset', '-f']);
    t.equal(result.exitCode, 0, result.all);
    t.same(await snapshot(host), clean, 'nothing is left');
  });
});
