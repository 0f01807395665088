import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { waitFor } from '../../runtime/base/time.ts';
import { registrySkip, startRegistry } from '../runtime/image/registry.ts';
import { skipReason } from '../runtime/network/own-network.ts';
import { type CtrFixture, openCtrFixture } from './fixture.ts';

let fixture: CtrFixture;
t.before(async () => {
  if (!skipReason) fixture = await openCtrFixture();
});
t.teardown(async () => fixture?.close());

const skip = skipReason;
const inspect = (name: string, template: string) => fixture.ok('inspect', '-f', template, name);
const run = (...args: readonly string[]) => fixture.ok('run', ...args);
const sleeper = (...args: readonly string[]) => run('-d', ...args, 'busybox', 'sleep', '600');

t.test('update changes limits of a running container, and its restart policy', { skip }, async (t) => {
  await sleeper('--name', 'limited', '-m', '64m', '--cpus', '1');
  const pid = await inspect('limited', '{{.State.Pid}}');
  const cgroupOf = (controller: string) =>
    new RegExp(`^\\d+:(?:\\S*,)?${controller}(?:,\\S*)?:(.*)$`, 'm').exec(
      readFileSync(`/proc/${pid}/cgroup`, 'utf8'),
    )?.[1];
  const isV1 = existsSync('/sys/fs/cgroup/memory');
  const read = (controller: string, v1: string, v2: string) =>
    readFileSync(
      isV1
        ? `/sys/fs/cgroup/${controller}${cgroupOf(controller)}/${v1}`
        : `/sys/fs/cgroup${cgroupOf('')}/${v2}`,
      'utf8',
    ).trim();
  await fixture.ok('update', '-m', '96m', '--pids-limit', '77', '--restart', 'on-failure:2', 'limited');
  t.equal(read('memory', 'memory.limit_in_bytes', 'memory.max'), String(96 << 20));
  t.equal(read('pids', 'pids.max', 'pids.max'), '77');
  const shown = '{{.HostConfig.Memory}} {{.HostConfig.CpuQuota}} {{.HostConfig.RestartPolicy.Name}}';
  t.equal(await inspect('limited', shown), `${96 << 20} 100000 on-failure`, 'what is not named stays');
  t.match((await fixture.run(['update', 'limited'])).stderr, /no limit and no restart policy/);
  await fixture.ok('rm', '-f', 'limited');
});

t.test('export writes what import makes an image of', { skip }, async (t) => {
  await run(
    '--name',
    'source',
    '-u',
    '0',
    '-v',
    'vol:/mounted',
    'busybox',
    'sh',
    '-c',
    'mkdir /made; echo file > /made/file; busybox rm /etc/group; echo x > /mounted/not-this',
  );
  const tar = join(fixture.directory, 'files.tar');
  await fixture.ok('export', '-o', tar, 'source');
  const listed = execFileSync('tar', ['-tf', tar], { encoding: 'utf8' }).split('\n');
  const has = (path: string) => listed.some((line) => line.replace(/^\.?\//, '').replace(/\/$/, '') === path);
  t.same(
    ['made/file', 'etc/passwd', 'bin/sh', 'mounted', 'etc/group', 'mounted/not-this'].map(has),
    [true, true, true, true, false, false],
    'the files that the container sees, without volumes',
  );
  const id = await fixture.ok(
    'import',
    '-c',
    'CMD ["cat", "/made/file"]',
    '-c',
    'ENV PATH=/bin',
    tar,
    'test/imported:1',
  );
  t.match(id, /^sha256:/);
  t.equal(await run('--rm', 'test/imported:1'), 'file');
  t.match((await fixture.run(['export', '-o', '/no/such/place', 'source'])).stderr, /Cannot write/);
  const streamed = await fixture.run(['import', '-'], { input: readFileSync(tar) });
  t.match(streamed.stdout, /^sha256:/);
  t.match((await fixture.run(['import', 'https://example.com/x.tar'])).stderr, /addresses are not fetched/);
  t.match((await fixture.run(['import', '/no/such.tar'])).stderr, /no such file/);
  await fixture.ok('rm', 'source');
  await fixture.ok('volume', 'rm', 'vol');
});

t.test('--volumes-from shares volumes and binds, read-only if so asked', { skip }, async (t) => {
  const directory = fixture.writeFiles({ note: 'from the host' });
  await sleeper('--name', 'owner', '-u', '0', '-v', '/data', '-v', `${directory}:/bound`);
  await fixture.ok('exec', 'owner', 'sh', '-c', 'echo shared > /data/file');
  t.equal(
    await run('--rm', '-u', '0', '--volumes-from', 'owner', 'busybox', 'cat', '/data/file', '/bound/note'),
    'shared\nfrom the host',
  );
  const denied = await fixture.run([
    'run',
    '--rm',
    '-u',
    '0',
    '--volumes-from',
    'owner:ro',
    'busybox',
    'touch',
    '/data/x',
  ]);
  t.match([denied.code, denied.stderr], [1, /Read-only/]);
  t.match((await fixture.run(['run', '--volumes-from', 'nobody', 'busybox'])).stderr, /no such container/);
  await fixture.ok('rm', '-f', '-v', 'owner');
});

t.test('--log-opt keeps the last of the output, and logs shows it as one', { skip }, async (t) => {
  const limit = ['--log-opt', 'max-size=1k', '--log-opt', 'max-file=3'];
  const id = await run('-d', '--name', 'chatty', ...limit, 'busybox', 'seq', '1000', '1199');
  await fixture.ok('wait', 'chatty');
  const lines = (await fixture.ok('logs', 'chatty')).split('\n');
  t.equal(lines.at(-1), '1199');
  t.equal(lines[0], String(1199 - lines.length + 1), 'without a gap');
  t.ok(lines.length > 20 && lines.length < 200, `${lines.length} lines`);
  t.same((await fixture.ok('logs', '--tail', '30', 'chatty')).split('\n').length, 30);
  const directory = join(fixture.directory, 'ctr/containers', id);
  t.same(
    [1, 2, 3].map((number) => existsSync(join(directory, `container.log.${number}`))),
    [true, true, false],
  );
  t.equal(await inspect('chatty', '{{index .HostConfig.LogConfig.Config "max-file"}}'), '3');
  t.match((await fixture.run(['run', '--log-opt', 'tag=x', 'busybox'])).stderr, /"--log-opt tag=x"/);
  t.match((await fixture.run(['run', '--log-opt', 'max-file=3', 'busybox'])).stderr, /needs max-size/);
  await fixture.ok('rm', 'chatty');
});

t.test('--pid and --ipc join another container', { skip }, async (t) => {
  await sleeper('--name', 'base', '-u', '0', '--ipc', 'shareable');
  t.match(await run('--rm', '--pid', 'container:base', 'busybox', 'ps'), /sleep 600/);
  const own = await run('--rm', '--pid', 'container:base', 'busybox', 'sh', '-c', 'echo $$');
  t.not(own, '1');
  await fixture.ok('exec', 'base', 'sh', '-c', 'echo shared > /dev/shm/file');
  t.equal(
    await run('--rm', '-u', '0', '--ipc', 'container:base', 'busybox', 'cat', '/dev/shm/file'),
    'shared',
  );
  await sleeper('--name', 'private');
  const refused = await fixture.run(['run', '--rm', '--ipc', 'container:private', 'busybox', 'true']);
  t.match(refused.stderr, /does not share its ipc namespace/);
  await fixture.ok('rm', '-f', 'base', 'private');
});

t.test('-P publishes exposed ports, -p also of udp', { skip }, async (t) => {
  const server = 'echo -e "HTTP/1.0 200 OK\\r\\n\\r\\nanswer" | nc -l -p 8080';
  await run(
    '-d',
    '--name',
    'web',
    '--expose',
    '8080',
    '-P',
    'busybox',
    'sh',
    '-c',
    `while true; do ${server}; done`,
  );
  const [, port] = /^0\.0\.0\.0:(\d+)$/.exec(await fixture.ok('port', 'web', '8080')) ?? [];
  t.ok(Number(port) > 1024);
  const address = await inspect('web', '{{.NetworkSettings.IPAddress}}');
  const answer = await waitFor(
    async () =>
      fetch(`http://${address}:8080`).then(
        (response) => response.text(),
        () => undefined,
      ),
    { subject: 'the answer', timeoutMs: 30_000, intervalMs: 50 },
  );
  t.equal(answer.trim(), 'answer');

  const range = ['-d', '-p', '127.0.0.1:38000-38009:80', 'busybox', 'sleep', '600'];
  const two = [await run('--name', 'one', ...range), await run('--name', 'two', ...range)];
  const ports = await Promise.all(two.map((id) => fixture.ok('port', id, '80')));
  for (const place of ports) t.match(place, /^127\.0\.0\.1:3800\d$/);
  t.not(ports[0], ports[1], 'each has one of the range');

  // The image's nc has no server for datagrams: the machine's Node.js, in a root that it knows.
  const listener = `require('dgram').createSocket('udp4').on('message', (text) => console.log(String(text))).bind(53)`;
  const command = ['busybox', 'chroot', '/host', process.execPath, '-e', listener];
  await run(
    '-d',
    '--name',
    'heard',
    '-p',
    '5353:53/udp',
    '-u',
    '0',
    '-v',
    '/:/host:ro',
    'busybox',
    ...command,
  );
  t.equal(await fixture.ok('port', 'heard'), '53/udp -> 0.0.0.0:5353');
  const socket = createSocket('udp4');
  await waitFor(
    async () => {
      await new Promise((resolve) => socket.send('hello', 5353, '127.0.0.1', resolve));
      return (await fixture.ok('logs', 'heard')).includes('hello') || undefined;
    },
    { subject: 'the datagram', timeoutMs: 30_000, intervalMs: 50 },
  );
  socket.close();
  const taken = await fixture.run(['run', '--rm', '-p', '5353:53/udp', 'busybox', 'true']);
  t.match([taken.code, taken.stderr], [125, /5353\/udp: another container has it/]);
  await fixture.ok('rm', '-f', 'web', 'heard', 'one', 'two');
});

t.test('save and load, tag and push carry images', { skip }, async (t) => {
  const archive = join(fixture.directory, 'saved.tar');
  await fixture.ok('tag', 'busybox', 'test/saved:1');
  await fixture.ok('save', '-o', archive, 'test/saved:1');
  await fixture.ok('rmi', 'test/saved:1');
  t.match((await fixture.run(['run', '--pull', 'never', 'test/saved:1'])).code, 125);
  t.match(await fixture.ok('load', '-i', archive), /^Loaded image: test\/saved:1$/m);
  t.match(await inspect('test/saved:1', '{{.RepoTags}}'), /\btest\/saved:1\b/);
  t.equal(await run('--rm', 'test/saved:1', 'echo', 'loaded'), 'loaded');
  if (registrySkip !== false) return t.comment(registrySkip);
  const registry = await startRegistry({ directory: join(fixture.directory, 'registry') });
  t.teardown(() => registry.close());
  const name = `${registry.host}/pushed:1`;
  await fixture.ok('tag', 'test/saved:1', name);
  await fixture.ok('push', '-q', name);
  await fixture.ok('rmi', '-f', name, 'test/saved:1');
  await fixture.ok('pull', '-q', name);
  t.equal(await run('--rm', name, 'echo', 'pulled'), 'pulled');
});

t.test('events --filter, and prune with its own', { skip }, async (t) => {
  const watching = fixture.spawn([
    'events',
    '--filter',
    'event=die',
    '--filter',
    'container=marked',
    '--format',
    '{{.Action}} {{.Actor.Attributes.name}}',
  ]);
  t.teardown(() => watching.kill('SIGKILL'));
  let seen = '';
  watching.stdout?.on('data', (chunk) => (seen += chunk));
  await waitFor(
    async () => {
      await fixture.run(['rm', '-f', 'marked']);
      await run('--name', 'marked', '--label', 'kind=test', 'busybox', 'true');
      return seen === '' ? undefined : true;
    },
    { subject: 'the event', timeoutMs: 30_000, intervalMs: 100 },
  );
  const ended = once(watching, 'close');
  watching.kill('SIGINT');
  await ended;
  t.same([...new Set(seen.trim().split('\n'))], ['die marked']);
  await run('--name', 'other', 'busybox', 'true');
  const pruned = await fixture.ok('container', 'prune', '-f', '--filter', 'label=kind=test');
  t.match(pruned, /^Deleted Containers:\n[0-9a-f]{64}\n\n?Total reclaimed space: /);
  t.equal(await fixture.ok('container', 'ls', '-a', '--format', '{{.Names}}'), 'other');
  await fixture.ok('volume', 'create', 'left');
  await fixture.ok('system', 'prune', '-f');
  t.equal(await fixture.ok('ps', '-aq'), '');
  t.equal(await fixture.ok('volume', 'ls', '-q'), 'left', 'a volume with a name stays');
  t.match(await fixture.ok('volume', 'prune', '-af'), /^Deleted Volumes:\nleft\n\nTotal reclaimed space: /);
});

t.test('--security-opt and --restart kinds', { skip }, async (t) => {
  const status = ['grep', '-E', '^(NoNewPrivs|Seccomp):', '/proc/self/status'];
  t.equal(await run('--rm', 'busybox', ...status), 'NoNewPrivs:\t0\nSeccomp:\t2');
  const open = ['--security-opt', 'seccomp=unconfined', '--security-opt', 'no-new-privileges'];
  t.equal(await run('--rm', ...open, 'busybox', ...status), 'NoNewPrivs:\t1\nSeccomp:\t0');
  const profile = join(fixture.directory, 'profile.json');
  const rule = { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 };
  writeFileSync(profile, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] }));
  const denied = await fixture.run([
    'run',
    '--rm',
    '--security-opt',
    `seccomp=${profile}`,
    'busybox',
    'mkdir',
    '/tmp/x',
  ]);
  t.match([denied.code, denied.stderr], [1, /Operation not permitted/]);
  const count = (name: string) => inspect(name, '{{.State.Status}} {{.RestartCount}} {{.State.ExitCode}}');
  await run('-d', '--name', 'twice', '--restart', 'on-failure:2', 'busybox', 'sh', '-c', 'exit 3');
  await waitFor(async () => (await count('twice')) === 'exited 2 3' || undefined, {
    subject: 'two restarts',
    timeoutMs: 30_000,
    intervalMs: 50,
  });
  await run('-d', '--name', 'once', '--restart', 'on-failure', 'busybox', 'true');
  await fixture.ok('wait', 'once');
  t.equal(await count('once'), 'exited 0 0', 'success is no failure');
  await run('-d', '--name', 'again', '--restart', 'unless-stopped', 'busybox', 'true');
  await waitFor(async () => Number((await count('again')).split(' ')[1]) > 0 || undefined, {
    subject: 'a restart',
    timeoutMs: 30_000,
    intervalMs: 50,
  });
  await fixture.ok('stop', '-t', '0', 'again');
  t.match(await count('again'), /^exited/);
  await fixture.ok('rm', 'twice', 'once', 'again');
});

t.test('what is not there ends each verb with the exit code of docker', { skip }, async (t) => {
  const verbs: readonly (readonly [exitCode: number, ...words: string[]])[] = [
    [1, 'exec', 'absent', 'true'],
    [1, 'logs', 'absent'],
    [1, 'cp', 'absent:/etc/hosts', '.'],
    [1, 'start', '-a', 'absent'],
    [1, 'inspect', 'absent'],
    [1, 'rm', 'absent'],
    [1, 'history', 'absent'],
    [125, 'run', '--pull=never', 'absent', 'true'],
  ];
  for (const [exitCode, ...words] of verbs) {
    const result = await fixture.run(words);
    t.equal(result.code, exitCode, `${words.join(' ')}: ${result.stderr}`);
  }
});

t.test('run of a program that cannot be run leaves a container without --rm alone', { skip }, async (t) => {
  const find = (name: string) =>
    fixture.ok('ps', '-a', '--filter', `name=^${name}$`, '--format', '{{.State}}');
  const cases = [
    [127, '/nowhere', 'created'],
    [126, '/etc', 'created'],
  ] as const;
  for (const [exitCode, program, state] of cases) {
    const kept = await fixture.run(['run', '--name', 'kept', 'busybox', program]);
    t.equal(kept.code, exitCode, kept.stderr);
    t.equal(await find('kept'), state);
    await fixture.ok('rm', 'kept');
    const gone = await fixture.run(['run', '--rm', '--name', 'gone', 'busybox', program]);
    t.equal(gone.code, exitCode, gone.stderr);
    t.equal(await find('gone'), '');
  }
});

t.test('a field that there is not is an error without rows too', { skip }, async (t) => {
  const lists = [
    ['ps'],
    ['images', 'absent'],
    ['volume', 'ls', '--filter', 'name=absent'],
    ['network', 'ls', '--filter', 'name=absent'],
  ];
  for (const words of lists) {
    const result = await fixture.run([...words, '--format', '{{.Nope}}']);
    t.match(result, { code: 1, stderr: /there is no field "Nope"/ }, words.join(' '));
  }
  const fields = '{{.ID}} {{.Mounts}} {{.LocalVolumes}} {{index (split .Names ",") 3}}';
  t.equal((await fixture.run(['ps', '--filter', 'name=absent', '--format', fields])).code, 0);
});
