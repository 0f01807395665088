import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { skipReason } from '../runtime/network/own-network.ts';
import { type CtrFixture, openCtrFixture } from './fixture.ts';

let fixture: CtrFixture;

t.before(async () => {
  if (!skipReason) fixture = await openCtrFixture();
});
t.teardown(async () => fixture?.close());

const inspect = (name: string, template: string) => fixture.ok('inspect', '-f', template, name);

/** Waits until a template of `inspect` shows a value. */
async function until(name: string, template: string, wanted: RegExp): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    if (wanted.test((await fixture.run(['inspect', '-f', template, name])).stdout)) return;
    await sleep(20);
  }
  throw new Error(`"${name}" does not come to ${wanted}`);
}

function collect(child: ChildProcess): { text: string; readonly code: Promise<number | null> } {
  const result = { text: '', code: new Promise<number | null>((resolve) => child.on('close', resolve)) };
  child.stdout!.on('data', (chunk) => (result.text += chunk));
  child.stderr!.on('data', (chunk) => (result.text += chunk));
  return result;
}

async function untilText(output: { readonly text: string }, wanted: RegExp): Promise<void> {
  for (let tries = 0; tries < 500; tries += 1) {
    if (wanted.test(output.text)) return;
    await sleep(20);
  }
  throw new Error(`no ${wanted} in: ${output.text}`);
}

const EXIT_CODES = [
  [['run', '--rm', 'busybox', 'sh', '-c', 'exit 7'], 7, /^$/],
  [['run', '--rm', 'busybox', 'nothing-there'], 127, /executable file not found in \$PATH/],
  [['run', '--rm', 'busybox', '/etc'], 126, /is a directory/],
  [['run', '--rm', 'busybox', '/etc/passwd'], 126, /permission denied/],
  [['run', '--rm', '--pull', 'never', 'nothing:1', 'true'], 125, /image "nothing:1" is not there/],
  [['run', '--init', 'busybox', 'true'], 125, /Cannot use "--init": it is not supported/],
  [['run', '--rm', '--restart', 'always', 'busybox', 'true'], 125, /exclude each other/],
  [['run', '--rm', '--network', 'lan', 'busybox', 'true'], 125, /there is no network "lan"/],
  [
    ['run', '--rm', '--security-opt', 'apparmor=x', 'busybox', 'true'],
    125,
    /"process.apparmorProfile" needs "AppArmor"/,
  ],
  [['run', '--rm', '--cap-add', 'NOTHING', 'busybox', 'true'], 125, /no capability "NOTHING"/],
  [['run', '--rm', '--env-file', '/nowhere', 'busybox', 'true'], 125, /no such file/],
  [
    ['run', '--rm', '--env-file', '/etc/os-release', '--env-file', '/etc/passwd', 'busybox', 'true'],
    125,
    /white space/,
  ],
  [['logs', 'nobody'], 1, /no such container/],
  [['exec', 'nobody', 'true'], 1, /no such container/],
  [['ps', '--colour'], 125, /unknown option/],
  [['swarm', 'x'], 1, /"tkadm ctr swarm": it is not supported/],
  [['ps', '--filter', 'colour=red'], 1, /there is no filter "colour"/],
] as const;

t.test("exit codes are the process's, or 125, 126 and 127", { skip: skipReason }, async (t) => {
  for (const [args, code, message] of EXIT_CODES) {
    const result = await fixture.run(args);
    t.equal(result.code, code, args.join(' '));
    t.match(result.stderr, message);
  }
  t.equal(await fixture.ok('ps', '-aq'), '', 'nothing is left of them');
});

const SETTINGS = [
  [['-e', 'A=1', '-e', 'FROM_OUTSIDE'], 'echo $A $FROM_OUTSIDE', /^1 yes$/],
  [['-w', '/new/place'], 'pwd', /^\/new\/place$/],
  [['-u', '1000:2000'], 'id -u; id -g', /^1000\n2000$/],
  [['-h', 'box', '--domainname', 'example.com'], 'tail -n 1 /etc/hosts', /\tbox.example.com box$/],
  [['--security-opt', 'systempaths=unconfined'], 'mount | grep -c "on /proc/sys " || true', /^0$/],
  [['-h', 'box', '--add-host', 'db:192.0.2.7'], 'hostname; grep db /etc/hosts', /^box\n192.0.2.7\tdb$/],
  [
    ['--dns', '192.0.2.53', '--dns-search', 'example.com'],
    'cat /etc/resolv.conf',
    /^nameserver 192.0.2.53\nsearch example.com$/,
  ],
  [
    ['--read-only', '--tmpfs', '/run:size=1m'],
    'touch /x 2>/dev/null || echo no; touch /run/x && echo yes',
    /^no\nyes$/,
  ],
  [['--network', 'none'], 'ip -o link | wc -l', /^1$/],
  [['--shm-size', '8m'], 'mount | grep /dev/shm', /size=8192k/],
  [['--ulimit', 'nofile=100:200'], 'ulimit -n; ulimit -Hn', /^100\n200$/],
  [['--sysctl', 'net.ipv4.ip_default_ttl=77'], 'cat /proc/sys/net/ipv4/ip_default_ttl', /^77$/],
  [['--cap-drop', 'ALL'], 'grep CapBnd /proc/self/status', /0000000000000000/],
  [['--security-opt', 'no-new-privileges'], 'grep NoNewPrivs /proc/self/status', /1$/],
  [['--security-opt', 'seccomp=unconfined'], 'grep Seccomp: /proc/self/status', /0$/],
  [['--device', '/dev/null:/dev/other'], 'ls -l /dev/other', /^c.* 1, +3 /],
  [['--entrypoint', 'echo'], undefined, /^sh -c$/],
  [
    ['--pids-limit', '50', '-m', '50m'],
    'cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/memory.max',
    /^50\n52428800$/,
  ],
  [['--mount', 'type=tmpfs,target=/mine,tmpfs-size=1m'], 'mount | grep /mine', /size=1024k/],
] as const;

t.test('flags of run reach the process', { skip: skipReason }, async (t) => {
  for (const [flags, script, wanted] of SETTINGS) {
    const command = script === undefined ? ['sh', '-c'] : ['sh', '-c', script];
    const user = (flags as readonly string[]).includes('-u') ? [] : ['-u', 'root'];
    const env = { FROM_OUTSIDE: 'yes' };
    const result = await fixture.run(['run', '--rm', ...user, ...flags, 'busybox', ...command], { env });
    t.match(result.stdout.trim(), wanted, `${flags.join(' ')} ${result.stderr}`);
  }
});

t.test("a bind may be read-only, a new volume gets the image's files", { skip: skipReason }, async (t) => {
  const source = fixture.writeFiles({ file: 'of the host\n' });
  const script = 'cat /in/file; echo x > /in/file || echo refused';
  const args = ['run', '--rm', '-u', 'root', '-v', `${source}:/in:ro`, 'busybox', 'sh', '-c', script];
  t.match((await fixture.run(args)).stdout, /^of the host\nrefused$/m);
  t.equal(readFileSync(join(source, 'file'), 'utf8'), 'of the host\n');
  t.match(await fixture.ok('run', '--rm', '-v', 'etc:/etc', 'busybox', 'ls', '/etc'), /passwd/);
  const path = await fixture.ok('volume', 'inspect', '-f', '{{.Mountpoint}}', 'etc');
  t.match(readFileSync(join(path, 'passwd'), 'utf8'), /^web:/m);
  const used = ['run', '-d', '--name', 'holder', '-v', 'etc:/x', 'busybox', 'sleep', '600'];
  await fixture.ok(...used);
  t.match((await fixture.run(['volume', 'rm', 'etc'])).stderr, /holder has it/);
  await fixture.ok('rm', '-f', 'holder');
  await fixture.ok('volume', 'rm', 'etc');
});

t.test('CVE-2022-23648: a volume of an image gets no file of the host', { skip: skipReason }, async (t) => {
  const lines = [
    'FROM busybox',
    'USER root',
    'RUN busybox ln -s ../../../../../../../../etc /esc',
    'VOLUME ["/esc", "/../../../../../../../../etc/../root/../etc"]',
  ];
  const context = fixture.writeFiles({ Dockerfile: lines.join('\n') });
  await fixture.ok('build', '-q', '-t', 'leads-out', context);
  const result = await fixture.run(['run', '--name', 'leads-out', 'leads-out', 'ls', '/esc/', '/etc/']);
  t.notMatch(result.stdout, /shadow|hosts\.allow|debian_version/);
  t.equal(
    await fixture.ok('run', '--rm', 'leads-out', 'cat', '/etc/passwd'),
    await fixture.ok('run', '--rm', 'busybox', 'cat', '/etc/passwd'),
  );
  await fixture.run(['rm', '-fv', 'leads-out']);
  await fixture.ok('rmi', 'leads-out');
});

t.test('input goes to the process, output and errors come apart', { skip: skipReason }, async (t) => {
  const echo = await fixture.run(['run', '--rm', '-i', 'busybox', 'cat'], { input: 'a\nb\n' });
  t.same([echo.code, echo.stdout], [0, 'a\nb\n']);
  const both = await fixture.run(['run', '--name', 'both', 'busybox', 'sh', '-c', 'echo out; echo err >&2']);
  t.same([both.stdout, both.stderr], ['out\n', 'err\n']);
  const logs = await fixture.run(['logs', 'both']);
  t.same([logs.stdout, logs.stderr], ['out\n', 'err\n']);
  t.match(await fixture.ok('logs', '-t', '--tail', '1', 'both'), /^(\d{4}-.*Z out)?$/);
  await fixture.ok('rm', 'both');
});

t.test('logs -f follows to the end of the container', { skip: skipReason }, async (t) => {
  await fixture.ok(
    'run',
    '-d',
    '-i',
    '--name',
    'talks',
    'busybox',
    'sh',
    '-c',
    'echo first; read l; echo $l',
  );
  const child = fixture.spawn(['logs', '-f', 'talks']);
  const output = collect(child);
  await untilText(output, /first/);
  const attached = await fixture.run(['attach', 'talks'], { input: 'second\n' });
  t.match(attached.stdout, /second/);
  t.equal(await output.code, 0);
  t.equal(output.text, 'first\nsecond\n');
  await fixture.ok('rm', 'talks');
});

t.test('signals of the command go to the process', { skip: skipReason }, async (t) => {
  const script = 'trap "echo got int; exit 5" INT; echo ready; while :; do sleep 1; done';
  const child = fixture.spawn(['run', '--rm', '--name', 'proxied', 'busybox', 'sh', '-c', script]);
  const output = collect(child);
  await untilText(output, /ready/);
  child.kill('SIGINT');
  t.equal(await output.code, 5);
  t.match(output.text, /got int/);
  const killed = collect(
    fixture.spawn(['run', '--name', 'killed', 'busybox', 'sh', '-c', 'echo up; sleep 600']),
  );
  await untilText(killed, /up/);
  await fixture.ok('kill', 'killed');
  t.equal(await killed.code, 137);
  t.equal(await fixture.ok('wait', 'killed'), '137');
  await fixture.ok('rm', 'killed');
  t.equal(await fixture.ok('ps', '-aq'), '');
});

/** `tkadm ctr` in a terminal of its own. */
function inTerminal(args: readonly string[]): ChildProcess {
  const words = [process.execPath, join(fixture.directory, 'cli/cli.mjs'), 'ctr', ...args];
  const command = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  return spawn('script', ['-qec', `stty cols 91 rows 17; ${command}`, '/dev/null'], {
    env: {
      PATH: process.env['PATH'] ?? '',
      SHELL: '/bin/sh',
      TKADM_CTR_SOCKET: fixture.socketPath,
      TKADM_IMAGE_SOCKET: join(fixture.directory, 'images.sock'),
    },
  });
}

t.test(
  'a terminal has its size; ctrl-p ctrl-q leaves it, attach comes back',
  { skip: skipReason },
  async (t) => {
    const child = inTerminal(['run', '-it', '--name', 'shell', 'busybox', 'sh']);
    const output = collect(child);
    await untilText(output, /\$ /);
    child.stdin!.write('stty size; tty\n');
    await untilText(output, /17 91/);
    await untilText(output, /\/dev\/(console|pts\/0)/);
    child.stdin!.write('\u0010\u0011');
    t.equal(await output.code, 0);
    t.equal(await inspect('shell', '{{.State.Status}}'), 'running');
    const again = inTerminal(['attach', 'shell']);
    const second = collect(again);
    again.stdin!.write('echo back $((40 + 2))\n');
    await untilText(second, /back 42/);
    again.stdin!.write('exit 9\n');
    t.equal(await second.code, 9);
    await fixture.ok('rm', 'shell');
  },
);

t.test('exec has its own exit code, user and directory', { skip: skipReason }, async (t) => {
  await fixture.ok('run', '-d', '--name', 'base', '-e', 'A=of the container', 'busybox', 'sleep', '600');
  const script = 'id -u; pwd; echo $A $B; exit 4';
  const result = await fixture.run([
    'exec',
    '-u',
    'root',
    '-w',
    '/etc',
    '-e',
    'B=own',
    'base',
    'sh',
    '-c',
    script,
  ]);
  t.same([result.code, result.stdout], [4, '0\n/etc\nof the container own\n']);
  t.equal((await fixture.run(['exec', '-i', 'base', 'cat'], { input: 'through' })).stdout, 'through');
  await fixture.ok('exec', '-d', 'base', 'touch', '/tmp/detached');
  t.equal((await fixture.run(['exec', 'base', 'nothing-there'])).code, 127);
  t.match(await fixture.ok('top', 'base'), /UID +PID +PPID[\s\S]*sleep 600/);
  t.match(await fixture.ok('top', 'base', '-eo', 'pid,args'), /^ *PID COMMAND\n *\d+ sleep 600$/);
  t.match(
    await fixture.ok('stats', '--no-stream', '--format', '{{.Name}} {{.PIDs}} {{.MemUsage}}'),
    /^base 1 .*B \/ /,
  );
  await fixture.ok('create', '--name', 'silent', 'busybox', 'true');
  const all = await fixture.ok('stats', '-a', '--no-stream', '--format', '{{.Name}} {{.PIDs}}');
  t.same(all.split('\n').sort(), ['base 1', 'silent 0'], 'also what does not run');
  await fixture.ok('rm', '-f', 'base', 'silent');
});

t.test('names, ids and their beginnings find a container', { skip: skipReason }, async (t) => {
  const id = await fixture.ok('create', '--name', 'named', '-l', 'tier=web', 'busybox', 'true');
  t.match(id, /^[0-9a-f]{64}$/);
  for (const text of ['named', '/named', id, id.slice(0, 12)])
    t.equal(await inspect(text, '{{.Id}}'), id, text);
  const ids = [id];
  // Of 17 ids two begin with the same digit.
  for (let count = 0; count < 16; count += 1) ids.push(await fixture.ok('create', 'busybox', 'true'));
  const digit = [...'0123456789abcdef'].find(
    (letter) => ids.filter((row) => row.startsWith(letter)).length > 1,
  )!;
  t.match((await fixture.run(['start', digit])).stderr, /ids begin with it/);
  t.match((await fixture.run(['create', '--name', 'named', 'busybox'])).stderr, /container \w{12} has it/);
  await fixture.ok('rename', 'named', 'renamed');
  t.equal(
    await fixture.ok('ps', '-a', '--filter', 'label=tier=web', '--format', '{{.Names}} {{.Status}}'),
    'renamed Created',
  );
  t.equal(await fixture.ok('ps', '-q'), '', 'none runs');
  await fixture.ok('rm', ...ids);
});

t.test('restart policies bring a container back, a stop ends that', { skip: skipReason }, async (t) => {
  await fixture.ok(
    'run',
    '-d',
    '--name',
    'fails',
    '--restart',
    'on-failure:2',
    'busybox',
    'sh',
    '-c',
    'exit 3',
  );
  await until('fails', '{{.RestartCount}} {{.State.Status}}', /^2 exited/);
  t.equal(await inspect('fails', '{{.State.ExitCode}}'), '3');
  await fixture.ok('run', '-d', '--name', 'stays', '--restart', 'always', 'busybox', 'sleep', '600');
  await fixture.ok('exec', '-u', 'root', 'stays', 'true');
  const pid = Number(await inspect('stays', '{{.State.Pid}}'));
  process.kill(pid, 'SIGKILL');
  await until('stays', '{{.RestartCount}} {{.State.Running}} {{.State.Status}}', /^1 true running/);
  t.not(Number(await inspect('stays', '{{.State.Pid}}')), pid);
  await fixture.ok('stop', '-t', '0', 'stays');
  await sleep(300);
  t.equal(await inspect('stays', '{{.State.Status}}'), 'exited');
  await fixture.ok('rm', 'stays', 'fails');
});

t.test('pause holds a container, cp reaches it in every state', { skip: skipReason }, async (t) => {
  const source = fixture.writeFiles({ 'tree/a': 'A', 'tree/sub/b': 'B' });
  await fixture.ok(
    'run',
    '-d',
    '--name',
    'files',
    '-u',
    'root',
    '-v',
    'kept:/kept',
    'busybox',
    'sleep',
    '600',
  );
  await fixture.ok('cp', join(source, 'tree'), 'files:/tmp');
  await fixture.ok('cp', join(source, 'tree/a'), 'files:/tmp/renamed');
  t.equal(await fixture.ok('exec', 'files', 'cat', '/tmp/tree/sub/b', '/tmp/renamed'), 'BA');
  await fixture.ok('exec', 'files', 'busybox', 'ln', '-s', '/../../../../etc/passwd', '/tmp/link');
  await fixture.ok('cp', '-L', 'files:/tmp/link', join(source, 'out'));
  t.match(readFileSync(join(source, 'out'), 'utf8'), /^web:/m, 'a link leads nowhere but inside');
  await fixture.ok('pause', 'files');
  t.match((await fixture.run(['exec', 'files', 'true'])).stderr, /it is paused/);
  await fixture.ok('cp', 'files:/tmp/tree/.', join(source, 'copied'));
  t.equal(readFileSync(join(source, 'copied/sub/b'), 'utf8'), 'B');
  await fixture.ok('unpause', 'files');
  await fixture.ok('stop', '-t', '0', 'files');
  await fixture.ok('cp', join(source, 'tree'), 'files:/root/new');
  await fixture.ok('cp', join(source, 'tree/a'), 'files:/kept/into-the-volume');
  t.equal((await fixture.run(['cp', 'files:/root/new/a', '-'])).stdout.slice(0, 1), 'a', 'a tar');
  await fixture.ok('start', 'files');
  t.equal(await fixture.ok('exec', 'files', 'cat', '/root/new/sub/b', '/kept/into-the-volume'), 'BA');
  t.equal((await fixture.run(['cp', 'files:/nothing', source])).code, 1);
  t.match((await fixture.run(['cp', 'files:/root', join(source, 'no/where')])).stderr, /no such directory/);
  await fixture.ok('rm', '-f', 'files');
  await fixture.ok('volume', 'rm', 'kept');
});

t.test('what the CRI has and what ctr has are apart', { skip: skipReason }, async (t) => {
  const id = await fixture.ok('run', '-d', 'busybox', 'sleep', '600');
  const { client } = fixture.cri;
  t.same((await client.listContainers({})).containers, []);
  t.same((await client.listPodSandbox({})).items, []);
  t.match((await fixture.run(['rmi', 'busybox'])).stderr, /has it/);
  await fixture.ok('rm', '-f', id);
});
