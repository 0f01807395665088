import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import type { ContainerStatus, ExecSession } from '../../runtime/container/engine.ts';
import type { OciSpec } from '../../runtime/container/oci-spec.ts';
import { cgroupDirectories, createFixture, findProcesses, type SpecChanges, skipReason } from './fixture.ts';

const isV1 = existsSync('/sys/fs/cgroup/memory/memory.limit_in_bytes');

t.test('container engine', { skip: skipReason }, async (t) => {
  const fixture = createFixture();
  const engine = await fixture.openEngine();
  let count = 0;

  async function create(
    spec: OciSpec,
    options: { stdin?: boolean; stdinOnce?: boolean } = {},
  ): Promise<string> {
    count += 1;
    const id = `box${count}`;
    const [upperDir, workDir] = ['upper', 'work'].map((name) => join(fixture.directory, `${name}-${id}`)) as [
      string,
      string,
    ];
    for (const path of [upperDir, workDir]) mkdirSync(path);
    await engine.create({
      id,
      spec,
      rootfs: { kind: 'overlay', lowerDirs: [fixture.rootfs], upperDir, workDir },
      logPath: fixture.logPath(id),
      ...options,
    });
    return id;
  }
  async function run(
    args: readonly string[],
    changes?: SpecChanges,
  ): Promise<{ status: ContainerStatus; output: string }> {
    const id = await create(fixture.buildSpec(args, changes));
    await engine.start(id);
    const status = await engine.wait(id);
    await engine.delete(id);
    return { status, output: readLog(fixture.logPath(id)) };
  }
  const shell = (script: string, changes?: SpecChanges) => run(['sh', '-c', script], changes);

  for (const [args, code] of [
    [['true'], 0],
    [['false'], 1],
    [['sh', '-c', 'exit 7'], 7],
    [['sh', '-c', 'exit 255'], 255],
  ] as const) {
    await t.test(`wait() reports exit code ${code} of ${args.join(' ')}`, async (t) => {
      const { status } = await run(args);
      t.match(status, { state: 'exited', exitCode: code, isOomKilled: false });
      t.ok(status.finishedAt! >= status.startedAt!);
    });
  }

  await t.test('a death by signal is 128 + its number', async (t) => {
    const id = await create(fixture.buildSpec(['sleep', '60']));
    await engine.start(id);
    await engine.kill(id, 'SIGKILL');
    t.equal((await engine.wait(id)).exitCode, 137);
    await engine.delete(id);
  });

  await t.test('the process is PID 1 with its own hostname and loopback', async (t) => {
    const { output } = await shell('echo $$; hostname; ip -o link');
    t.match(output, /^1\nbox\n1: lo: <LOOPBACK,UP,LOWER_UP>/);
  });

  await t.test('the root file system is writable in its upper layer only, or read-only', async (t) => {
    t.equal((await shell('touch /new && echo made')).output, 'made\n');
    t.notOk(existsSync(join(fixture.rootfs, 'new')));
    const { status, output } = await shell('touch /new', { spec: { root: { path: '', readonly: true } } });
    t.equal(status.exitCode, 1);
    t.match(output, /Read-only file system/);
  });

  await t.test('masked paths are empty, read-only paths refuse writes', async (t) => {
    const { output } = await shell(
      'wc -c < /proc/timer_list; ls /sys/firmware | wc -l; (echo 1 > /proc/sys/kernel/panic) 2>/dev/null || echo refused',
    );
    t.match(output, /^0\n0\n/);
    t.match(output, /refused/);
  });

  await t.test('capabilities, user, groups and no_new_privs are those of the spec', async (t) => {
    const status = await shell(
      'grep -E "^(Uid|Gid|Groups|Cap|NoNewPrivs|SigIgn|SigBlk)" /proc/self/status; umask',
      {
        process: {
          user: { uid: 1000, gid: 1001, additionalGids: [20, 21], umask: 0o27 },
          capabilities: {
            bounding: ['CAP_CHOWN', 'CAP_NET_BIND_SERVICE'],
            permitted: ['CAP_NET_BIND_SERVICE'],
            effective: ['CAP_NET_BIND_SERVICE'],
            inheritable: ['CAP_NET_BIND_SERVICE'],
            ambient: ['CAP_NET_BIND_SERVICE'],
          },
        },
      },
    );
    const fields = Object.fromEntries(status.output.split('\n').map((line) => line.split(':\t')));
    t.equal(fields['Uid'], '1000\t1000\t1000\t1000');
    t.equal(fields['Gid'], '1001\t1001\t1001\t1001');
    t.equal(fields['Groups']?.trim(), '20 21');
    for (const name of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb'])
      t.equal(fields[name], '0000000000000400', name);
    t.equal(fields['CapBnd'], '0000000000000401');
    t.equal(fields['NoNewPrivs'], '1');
    t.equal(fields['SigIgn'], '0000000000000000');
    t.equal(fields['SigBlk'], '0000000000000000');
    t.match(status.output, /^0027$/m);
  });

  await t.test('a non-root process writes to /dev/stdout and has HOME from passwd', async (t) => {
    const { output } = await shell('echo to-file > /dev/stdout; echo $HOME', {
      process: { user: { uid: 1000, gid: 1000 } },
    });
    t.equal(output, 'to-file\n/home/web\n');
  });

  await t.test('no descriptor of the launcher reaches the program', async (t) => {
    const { output } = await shell('for fd in /proc/$$/fd/*; do [ -e $fd ] && echo $fd; done; true');
    t.same(
      output
        .trim()
        .split('\n')
        .map((path) => path.split('/').at(-1))
        .filter((fd) => Number(fd) < 10),
      ['0', '1', '2'],
    );
  });

  await t.test('a memory limit kills, and status tells', async (t) => {
    const { status } = await shell('x=a; while :; do x=$x$x; done', {
      linux: { resources: { memory: { limit: 16 * 1024 * 1024 } } },
    });
    t.equal(status.exitCode, 137);
    t.equal(status.isOomKilled, true);
  });

  await t.test(
    'limits reach the cgroup files, update() changes them',
    { skip: !isV1 && 'cgroup v1 file names' },
    async (t) => {
      const resources = { cpu: { quota: 50000, period: 100000, shares: 512 }, pids: { limit: 77 } };
      const spec = fixture.buildSpec(['sleep', '60'], { linux: { resources } });
      const id = await create(spec);
      const read = (controller: string, file: string) =>
        readFileSync(`/sys/fs/cgroup/${controller}${spec.linux!.cgroupsPath}/${file}`, 'utf8').trim();
      t.equal(read('cpu', 'cpu.cfs_quota_us'), '50000');
      t.equal(read('cpu', 'cpu.shares'), '512');
      t.equal(read('pids', 'pids.max'), '77');
      await engine.update(id, { cpu: { quota: 20000 }, memory: { limit: 64 * 1024 * 1024 } });
      t.equal(read('cpu', 'cpu.cfs_quota_us'), '20000');
      t.equal(read('memory', 'memory.limit_in_bytes'), String(64 * 1024 * 1024));
      await engine.start(id);
      t.match(read('memory', 'cgroup.procs'), String(engine.status(id)?.pid));
      const stats = (await engine.stats(id))!;
      t.ok(stats.pids >= 1 && stats.memoryUsageBytes > 0 && stats.cpuUsageNanos > 0n);
      await engine.pause(id);
      t.equal(read('freezer', 'freezer.state'), 'FROZEN');
      await engine.resume(id);
      await engine.delete(id, { force: true });
      await t.rejects(
        shell('true', { linux: { resources: { hugepageLimits: [{ pageSize: '7MB', limit: 1 }] } } }),
        /hugepageLimits/,
      );
    },
  );

  await t.test('device rules deny what is not listed', { skip: !isV1 && 'cgroup v1' }, async (t) => {
    const { output } = await shell('head -c 1 /dev/zero | wc -c; head -c 1 /dev/kmsg2 2>&1', {
      linux: {
        resources: { devices: [{ allow: false, access: 'rwm' }] },
        devices: [{ path: '/dev/kmsg2', type: 'c', major: 1, minor: 11, fileMode: 0o666 }],
      },
    });
    t.match(output, /^1\n/);
    t.match(output, /Operation not permitted/);
  });

  await t.test('binds mount files and directories, read-only too, and no link leads out', async (t) => {
    const source = join(fixture.directory, 'source');
    mkdirSync(join(source, 'sub'), { recursive: true });
    writeFileSync(join(source, 'file'), 'content\n');
    symlinkSync('/tmp/tkadm-outside', join(fixture.rootfs, 'link'));
    const { output, status } = await shell(
      'cat /data/file; touch /data/new && echo rw; touch /ro/x; cat /etc/single; ls /tmp/tkadm-outside/inner',
      {
        spec: {
          mounts: [
            { destination: '/data', type: 'bind', source, options: ['rbind', 'rw'] },
            { destination: '/ro', type: 'bind', source, options: ['rbind', 'ro', 'nosuid'] },
            {
              destination: '/etc/single',
              type: 'bind',
              source: join(source, 'file'),
              options: ['bind', 'ro'],
            },
            { destination: '/tmp/tkadm-outside/inner', type: 'bind', source, options: ['bind'] },
            { destination: '/link/inner2', type: 'bind', source, options: ['bind'] },
          ],
        },
      },
    );
    t.equal(status.exitCode, 0);
    t.match(output, /^content\n/);
    t.match(output, /^rw$/m);
    t.match(output, /touch: \/ro\/x: Read-only file system/);
    t.match(output, /content[\s\S]*content/);
    t.notOk(existsSync('/tmp/tkadm-outside'));
  });

  await t.test('a failure names the mount, the namespace or the program', async (t) => {
    await t.rejects(
      create(
        fixture.buildSpec(['true'], {
          spec: { mounts: [{ destination: '/x', type: 'bind', source: '/nowhere' }] },
        }),
      ),
      { code: 'CONTAINER_LAUNCH', message: /mount "\/nowhere" at "\/x"/ },
    );
    const seccomp = { defaultAction: 'SCMP_ACT_NONE' };
    await t.rejects(create(fixture.buildSpec(['true'], { linux: { seccomp } })), {
      code: 'UNSUPPORTED',
      message: /linux\.seccomp action "SCMP_ACT_NONE"/,
    });
    for (const [args, message] of [
      [['missing'], /exec: "missing": executable file not found in \$PATH/],
      [['/no/such'], /exec: "\/no\/such": stat \/no\/such: no such file or directory/],
      [['/etc/passwd'], /exec: "\/etc\/passwd": permission denied/],
    ] as const) {
      const id = await create(fixture.buildSpec(args));
      await t.rejects(engine.start(id), { code: 'CONTAINER_LAUNCH', message });
      t.equal((await engine.wait(id)).state, 'exited');
      await engine.delete(id);
    }
    t.notOk(
      readdirSync(join(fixture.stateDir, 'containers')).some((name) => engine.status(name) === undefined),
    );
  });

  await t.test('create() runs nothing before start()', async (t) => {
    const id = await create(fixture.buildSpec(['sh', '-c', 'echo ran']));
    await sleep(100);
    t.equal(engine.status(id)?.state, 'created');
    t.notOk(existsSync(fixture.logPath(id)));
    await t.rejects(engine.exec(id, { process: { args: ['true'], cwd: '/' } }), { code: 'CONTAINER_STATE' });
    await engine.start(id);
    await engine.wait(id);
    t.equal(readLog(fixture.logPath(id)), 'ran\n');
    await t.rejects(engine.start(id), { code: 'CONTAINER_STATE' });
    await engine.delete(id);
    const unstarted = await create(fixture.buildSpec(['true']));
    await engine.delete(unstarted);
    t.equal(engine.status(unstarted), undefined);
  });

  await t.test('the log has CRI lines, parts of long lines, and a new file after reopenLog()', async (t) => {
    const id = await create(
      fixture.buildSpec(
        [
          'sh',
          '-c',
          'echo out; echo err >&2; head -c 40000 /dev/zero | tr "\\0" x; echo; read l; printf after',
        ],
        {},
      ),
      { stdin: true },
    );
    await engine.start(id);
    const path = fixture.logPath(id);
    await until(() => readFileSync(path, 'utf8').split('\n').length >= 6);
    const lines = readFileSync(path, 'utf8').trim().split('\n');
    for (const line of lines) t.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) [FP] /);
    const parts = lines.filter((line) => line.includes(' stdout ') && line.includes('x'));
    t.same(
      parts.map((line) => [line.split(' ')[2], line.split(' ')[3]!.length]),
      [
        ['P', 16384],
        ['P', 16384],
        ['F', 7232],
      ],
    );
    t.equal(lines.filter((line) => line.endsWith(' stderr F err')).length, 1);
    const { renameSync } = await import('node:fs');
    renameSync(path, `${path}.1`);
    await engine.reopenLog(id);
    engine.attach(id).stdin!.write('go\n');
    await engine.wait(id);
    t.equal(readLog(path), 'after\n');
    await engine.delete(id);
  });

  await t.test('attach() carries input and output; stdinOnce ends the input', async (t) => {
    const id = await create(fixture.buildSpec(['cat']), { stdin: true, stdinOnce: true });
    const session = engine.attach(id);
    await engine.start(id);
    session.stdin!.end('hello\n');
    t.equal(await readAll(session.stdout), 'hello\n');
    t.equal((await engine.wait(id)).exitCode, 0);
    await engine.delete(id);
  });

  await t.test('a terminal of the container carries both streams and its size', async (t) => {
    const id = await create(
      fixture.buildSpec(['sh', '-c', 'tty; stty size; read l; stty size; echo got $l'], {
        process: { terminal: true, consoleSize: { height: 33, width: 101 } },
      }),
    );
    const session = engine.attach(id);
    let text = '';
    session.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    const ended = new Promise((resolve) => session.stdout.on('end', resolve));
    await engine.start(id);
    await until(() => text.includes('101'));
    session.resize(80, 25);
    session.stdin!.write('line\n');
    t.equal((await engine.wait(id)).exitCode, 0);
    await ended;
    t.match(text, /\/dev\/console\r\n33 101\r\n/);
    t.match(text, /25 80\r\ngot line\r\n/);
    await engine.delete(id);
  });

  await t.test('exec() runs in the container', async (t) => {
    const spec = fixture.buildSpec(['sleep', '60']);
    const id = await create(spec);
    await engine.start(id);
    const exec = (args: readonly string[], changes: object = {}, stdin = false) =>
      engine.exec(id, { process: { args, cwd: '/', env: ['PATH=/bin'], ...changes }, stdin });
    const shellExec = async (script: string, changes?: object) =>
      collect(await exec(['sh', '-c', script], changes));
    t.match(await shellExec('hostname; cat /proc/1/cmdline; exit 3'), { code: 3, stdout: /^box\nsleep\0/ });
    t.match(await shellExec('echo e >&2'), { code: 0, stdout: '', stderr: 'e\n' });
    const { stdout } = await shellExec(
      'grep -E "^(Uid|CapBnd|NoNewPrivs)" /proc/self/status; echo f > /dev/stdout; ls /proc/self/fd | wc -l',
      {
        user: { uid: 1000, gid: 1000 },
        noNewPrivileges: true,
        capabilities: { bounding: ['CAP_KILL'] },
      },
    );
    t.match(stdout, /Uid:\t1000/);
    t.match(stdout, /CapBnd:\t0000000000000020/);
    t.match(stdout, /NoNewPrivs:\t1\nf\n4\n/);
    const withInput = await exec(['cat'], {}, true);
    withInput.stdin!.end('in\n');
    t.match(await collect(withInput), { code: 0, stdout: 'in\n' });
    await t.rejects(exec(['missing']), {
      code: 'CONTAINER_EXEC',
      message: /executable file not found in \$PATH/,
    });
    const killed = await exec(['sleep', '60']);
    if (isV1)
      t.match(
        readFileSync(`/sys/fs/cgroup/pids${spec.linux!.cgroupsPath}/cgroup.procs`, 'utf8'),
        String(killed.pid),
      );
    killed.kill('SIGTERM');
    t.equal(await killed.exited, 143);
    const terminal = await exec(
      ['sh', '-c', 'tty; stty size; read l; echo got $l'],
      { terminal: true, consoleSize: { height: 10, width: 20 } },
      true,
    );
    const output = readAll(terminal.stdout);
    await sleep(100);
    terminal.stdin!.write('x\n');
    t.equal(await terminal.exited, 0);
    t.match(await output, /\/dev\/pts\/0\r\n10 20\r\n[\s\S]*got x\r\n/);
    for (let round = 0; round < 20; round += 1) {
      const short = await exec(['sh', '-c', 'read l; echo got $l'], { terminal: true }, true);
      const all = readAll(short.stdout);
      short.stdin!.write('x\n');
      t.equal(await short.exited, 0);
      t.match(await all, /got x/, 'the last output comes');
    }
    await engine.delete(id, { force: true });
  });

  await t.test('namespaces are joined by path; a shared pid namespace as well', async (t) => {
    const first = await create(fixture.buildSpec(['sleep', '60']));
    await engine.start(first);
    const { pid } = engine.status(first)!;
    const namespaces = (['network', 'ipc', 'uts', 'pid'] as const).map((type) => ({
      type,
      path: `/proc/${pid}/ns/${type === 'network' ? 'net' : type}`,
    }));
    const linux = { namespaces: [...namespaces, { type: 'mount' as const }, { type: 'cgroup' as const }] };
    const { output } = await shell('readlink /proc/self/ns/net; cat /proc/1/cmdline; sleep 60 & exit 4', {
      linux,
      spec: { hostname: undefined as unknown as string },
    });
    const { readlinkSync } = await import('node:fs');
    t.match(output, readlinkSync(`/proc/${pid}/ns/net`));
    t.match(output, /sleep\x0060/);
    await engine.delete(first, { force: true });
    const host = await shell('readlink /proc/self/ns/pid', {
      linux: { namespaces: [{ type: 'mount' }] },
      spec: { hostname: undefined as unknown as string },
    });
    t.equal(host.output.trim(), readlinkSync('/proc/self/ns/pid'));
  });

  await t.test('stop() sends SIGTERM, then SIGKILL after the grace period; exits() tells', async (t) => {
    const abort = new AbortController();
    const exits = engine.exits(abort.signal)[Symbol.asyncIterator]();
    const polite = await create(
      fixture.buildSpec(['sh', '-c', 'trap "exit 5" TERM; echo ready; while :; do sleep 1 & wait $!; done']),
    );
    await engine.start(polite);
    await until(() => readLog(fixture.logPath(polite)) === 'ready\n');
    t.equal((await engine.stop(polite, { graceMs: 5000 })).exitCode, 5);
    t.match((await exits.next()).value, { id: polite, exitCode: 5 });
    abort.abort();
    const deaf = await create(fixture.buildSpec(['sleep', '60']));
    await engine.start(deaf);
    t.equal((await engine.stop(deaf, { graceMs: 50 })).exitCode, 137);
    await engine.delete(polite);
    await engine.delete(deaf);
    t.same(engine.list(), []);
  });

  await t.test('nothing is left behind', async (t) => {
    await engine.close();
    await until(() => findProcesses(fixture.directory).length === 0);
    t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), fixture.directory);
    t.same(readdirSync(join(fixture.stateDir, 'containers')), []);
    for (const path of cgroupDirectories(fixture.cgroupParent)) {
      t.same(
        readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory()),
        [],
      );
    }
    fixture.removeCgroups();
    fixture.remove();
  });
});

function readLog(path: string): string {
  if (!existsSync(path)) return '';
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => `${line.split(' ').slice(3).join(' ')}\n`)
    .join('');
}

async function readAll(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

async function collect(session: ExecSession): Promise<{ code: number; stdout: string; stderr: string }> {
  const [stdout, stderr, code] = await Promise.all([
    readAll(session.stdout),
    session.stderr ? readAll(session.stderr) : '',
    session.exited,
  ]);
  return { code, stdout, stderr };
}

async function until(probe: () => boolean): Promise<void> {
  for (let tries = 0; tries < 250; tries += 1) {
    try {
      if (probe()) return;
    } catch {}
    await sleep(20);
  }
  throw new Error('Cannot see the awaited state after 5 s');
}
