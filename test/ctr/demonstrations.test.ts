import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { waitFor } from '../../runtime/base/time.ts';
import { cgroupDirectories } from '../container/fixture.ts';
import { skipReason } from '../runtime/network/own-network.ts';
import { type CtrFixture, namespaceOf, openCtrFixture } from './fixture.ts';

// What books on containers show first, with the runtime's own commands.

const NAMESPACES = ['pid', 'net', 'ipc', 'uts', 'mnt', 'cgroup'] as const;
let fixture: CtrFixture;

t.before(async () => {
  if (!skipReason) fixture = await openCtrFixture();
});
t.teardown(async () => fixture?.close());

t.test('a process sees itself as PID 1, and nothing of the host', { skip: skipReason }, async (t) => {
  const seen = await fixture.ok('run', '--rm', 'busybox', 'sh', '-c', 'echo $$; ls -d /proc/[0-9]* | wc -l');
  // The shell, ls and wc.
  t.match(seen, /^1\n[1-3]$/);
  await fixture.ok('run', '-d', '--name', 'first', 'busybox', 'sleep', '600');
  const pid = await fixture.ok('inspect', '-f', '{{.State.Pid}}', 'first');
  t.match(readFileSync(`/proc/${pid}/status`, 'utf8'), /^NSpid:\t\d+\t1$/m);
  await fixture.ok('rm', '-f', 'first');
});

t.test('cpu.cfs_quota_us of 20000 holds a busy loop at 20 % of a core', { skip: skipReason }, async (t) => {
  const loop = 'while :; do :; done';
  const id = await fixture.ok('run', '-d', '--cpu-quota', '20000', 'busybox', 'sh', '-c', loop);
  const files = cgroupDirectories(`${fixture.cgroupParent}/${id}`);
  const read = (name: string) => {
    const directory = files.find((path) => statSync(join(path, name), { throwIfNoEntry: false }));
    return directory === undefined ? undefined : readFileSync(join(directory, name), 'utf8').trim();
  };
  t.match(read('cpu.cfs_quota_us') ?? read('cpu.max'), /^20000( 100000)?$/);
  const usedMs = () => {
    const nanos = read('cpuacct.usage');
    return nanos === undefined
      ? Number(/usage_usec (\d+)/.exec(read('cpu.stat')!)![1]) / 1e3
      : Number(nanos) / 1e6;
  };
  // A busy machine may leave it less than its quota for a while.
  await waitFor(async () => /nr_throttled [1-9]/.test(read('cpu.stat') ?? '') || undefined, {
    subject: 'the quota to be felt',
    timeoutMs: 60_000,
    intervalMs: 50,
  });
  const before = { used: usedMs(), at: performance.now() };
  await sleep(2000);
  const share = (usedMs() - before.used) / (performance.now() - before.at);
  t.ok(share < 0.3, `${share} of a core`);
  t.ok(share > 0.01, `${share}: it does run`);
  await fixture.ok('rm', '-f', id);
});

/** A root file system with Node.js and its libraries. */
function copyNode(root: string): void {
  const libraries = execFileSync('ldd', [process.execPath], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g);
  for (const path of [...libraries].map(([, library]) => library!)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    copyFileSync(realpathSync(path), join(root, path));
  }
  mkdirSync(join(root, 'bin'), { recursive: true });
  copyFileSync(process.execPath, join(root, 'bin/node'));
}

const WEB_APPLICATION = `
require('node:http').createServer((request, response) => {
  response.end('Hello from ' + require('node:os').hostname() + request.url + '\\n');
}).listen(80);
process.on('SIGTERM', () => process.exit(0));
`;

/** Asks until something answers: the program begins to listen some time after the container's start. */
async function fetchText(url: string): Promise<string> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await (await fetch(url)).text();
    } catch (error) {
      if (tries > 200) throw error;
      await sleep(50);
    }
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

t.test(
  'a web application is built, run with a published port, and answers',
  { skip: skipReason },
  async (t) => {
    const context = fixture.writeFiles({
      Dockerfile:
        'FROM scratch\nCOPY rootfs /\nWORKDIR /app\nCOPY app.js .\nEXPOSE 80\nCMD ["node", "app.js"]\n',
      'app.js': WEB_APPLICATION,
    });
    copyNode(join(context, 'rootfs'));
    await fixture.ok('build', '-q', '-t', 'friendlyhello', context);
    t.match(await fixture.ok('images'), /^friendlyhello +latest/m);
    const port = await findFreePort();
    await fixture.ok('run', '-d', '--name', 'web', '-h', 'webhost', '-p', `${port}:80`, 'friendlyhello');
    t.equal(await fixture.ok('port', 'web'), `80/tcp -> 0.0.0.0:${port}`);
    t.equal(await fetchText(`http://127.0.0.1:${port}/loopback`), 'Hello from webhost/loopback\n');
    const own = Object.values(networkInterfaces())
      .flat()
      .find((row) => row && row.family === 'IPv4' && !row.internal);
    if (own) t.equal(await fetchText(`http://${own.address}:${port}/own`), 'Hello from webhost/own\n');
    const second = await fixture.run(['run', '--rm', '-p', `${port}:80`, 'friendlyhello']);
    t.equal(second.code, 125);
    t.match(second.stderr, /another container has it/);
    await fixture.ok('stop', 'web');
    t.equal(await fixture.ok('wait', 'web'), '0', 'its own handler ended it');
    await t.rejects(fetch(`http://127.0.0.1:${port}/`), 'the port is closed again');
    await fixture.ok('rm', 'web');
  },
);

t.test('exec joins the namespaces of the container', { skip: skipReason }, async (t) => {
  await fixture.ok('run', '-d', '--name', 'joined', '-u', 'root', 'busybox', 'sleep', '600');
  const pid = await fixture.ok('inspect', '-f', '{{.State.Pid}}', 'joined');
  const script = NAMESPACES.map((kind) => `readlink /proc/self/ns/${kind}`).join('; ');
  const seen = (await fixture.ok('exec', 'joined', 'busybox', 'sh', '-c', script)).split('\n');
  for (const [index, kind] of NAMESPACES.entries()) {
    t.equal(seen[index], namespaceOf(pid, kind), `${kind}: that of the container`);
    t.not(seen[index], namespaceOf('self', kind), `${kind}: not the host's`);
  }
  await fixture.ok('rm', '-f', 'joined');
});

async function listTopLayer(image: string): Promise<readonly string[]> {
  const { images } = fixture.cri.runtime;
  const { diffId } = images.resolve(image)!.layers.at(-1)!;
  const tar = await images.openLayer(diffId);
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  return execFileSync('tar', ['-t'], { input: Buffer.concat(chunks), encoding: 'utf8' })
    .trim()
    .split('\n')
    .sort();
}

t.test(
  'commit makes an image of what was changed, without the injected files',
  { skip: skipReason },
  async (t) => {
    const change =
      'echo data > /opt.txt; rm /bin/seq; mkdir /srv; echo x > /vol/file; cat /etc/hosts /etc/resolv.conf > /dev/null';
    await fixture.ok(
      'run',
      '--name',
      'worked',
      '-u',
      'root',
      '-v',
      '/vol',
      '--add-host',
      'a:192.0.2.1',
      'busybox',
      'sh',
      '-c',
      change,
    );
    t.equal(await fixture.ok('diff', 'worked'), ['C /bin', 'D /bin/seq', 'A /opt.txt', 'A /srv'].join('\n'));
    const changes = ['-c', 'CMD ["cat", "/opt.txt"]', '-c', 'WORKDIR /srv', '-c', 'WORKDIR sub'];
    await fixture.ok('commit', '-a', 'me', '-m', 'why', ...changes, 'worked', 'committed:1');
    const shown = '{{.Author}} {{.Comment}} {{.Config.WorkingDir}}';
    t.equal(await fixture.ok('inspect', '-f', shown, 'committed:1'), 'me why /srv/sub');
    const refused = await fixture.run(['commit', '-c', 'RUN true', 'worked']);
    t.match([refused.code, refused.stderr], [1, /Cannot apply change "RUN true"/]);
    t.same(await listTopLayer('committed:1'), ['bin/', 'bin/.wh.seq', 'opt.txt', 'srv/']);
    t.equal(await fixture.ok('run', '--rm', 'committed:1'), 'data');
    const gone = await fixture.run(['run', '--rm', 'committed:1', 'ls', '/bin/seq']);
    t.equal(gone.code, 1);
    await fixture.ok('rm', '-v', 'worked');
    t.equal(await fixture.ok('volume', 'ls', '-q'), '');
    await fixture.ok('rmi', 'committed:1');
  },
);

t.test('two containers share a network namespace and a volume', { skip: skipReason }, async (t) => {
  await fixture.ok(
    'run',
    '-d',
    '--name',
    'server',
    '-u',
    'root',
    '-v',
    'shared:/srv/www',
    'busybox',
    'busybox',
    'httpd',
    '-f',
    '-p',
    '127.0.0.1:8080',
    '-h',
    '/srv/www',
  );
  const script = 'echo from the neighbour > /w/index.html; wget -q -O - http://127.0.0.1:8080/';
  const args = [
    'run',
    '--rm',
    '-u',
    'root',
    '--network',
    'container:server',
    '-v',
    'shared:/w',
    'busybox',
    'sh',
    '-c',
    script,
  ];
  t.equal(await fixture.ok(...args), 'from the neighbour');
  await fixture.ok(
    'run',
    '-d',
    '--name',
    'beside',
    '--network',
    'container:server',
    'busybox',
    'sleep',
    '600',
  );
  const pidOf = (name: string) => fixture.ok('inspect', '-f', '{{.State.Pid}}', name);
  t.equal(namespaceOf(await pidOf('beside'), 'net'), namespaceOf(await pidOf('server'), 'net'));
  t.not(namespaceOf(await pidOf('beside'), 'pid'), namespaceOf(await pidOf('server'), 'pid'));
  await fixture.ok('rm', '-f', 'beside', 'server');
  t.match((await fixture.run(['volume', 'rm', 'shared'])).stdout, /^shared$/m);
});

t.test('a change is made to a copy: the layers below stay as they are', { skip: skipReason }, async (t) => {
  const layers = join(fixture.cri.directory, 'root/images/layers');
  const digest = () =>
    execFileSync(
      'sh',
      [
        '-c',
        'find . -printf "%p %m %u %g %s %T@ %l\\n" | sort; find . -type f -print0 | sort -z | xargs -0 sha256sum',
      ],
      {
        cwd: layers,
        encoding: 'utf8',
        maxBuffer: 1e8,
      },
    );
  const before = digest();
  t.match(before, /etc\/passwd/);
  const change = 'echo intruder >> /etc/passwd; rm /bin/wc; chmod 700 /tmp; cat /etc/passwd';
  t.match(await fixture.ok('run', '--rm', '-u', 'root', 'busybox', 'sh', '-c', change), /intruder/);
  t.equal(digest(), before);
  t.notMatch(await fixture.ok('run', '--rm', 'busybox', 'cat', '/etc/passwd'), /intruder/);
});
